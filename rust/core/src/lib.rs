//! The risk core of a perpetual-futures venue: exact, deterministic, explainable.
//!
//! The modules are the floors of the risk pipeline; each uses the floors below it only.
#![forbid(unsafe_code)]

pub mod data;
pub mod engine;
pub mod execution;
pub mod margin;
pub mod numbers;
pub mod pricing;
