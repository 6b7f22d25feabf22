//! Values as bytes: what the journal holds of an event. `docs/reference/journal.md`.
//!
//! Whole numbers are LEB128, signed ones in zigzag; text and lists stand behind their length; what is optional behind a 0 or
//! a 1. Every value has one encoding, and no other is read.

use std::sync::Arc;

use crate::data::{AssetId, InstrumentId, Level, Side};
use crate::margin::{LegSide, PoolId, PoolKind};
use crate::numbers::limits::{JOURNAL_RECORD_MAX, LEVELS_MAX};
use crate::numbers::{Error, ErrorKind, Lots, MarkTicks, PriceTicks, Quanta, Rate, Result};

/// A value as people and other programs read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    None,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Text, and rates.
    Text(String),
    /// Several.
    List(Vec<Value>),
}

/// Bytes that are being read.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

pub(super) fn corrupt(what: &'static str, value: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::JournalCorrupt, what, value, "must be as this version writes it")
}

impl<'a> Reader<'a> {
    /// Reads these bytes from their start.
    #[must_use]
    pub fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| corrupt("bytes", "their end"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let found = self.rest.split_at_checked(count);
        let (own, rest) = found.ok_or_else(|| corrupt("bytes", "their end"))?;
        self.rest = rest;
        Ok(own)
    }

    fn unsigned(&mut self) -> Result<u128> {
        let mut value = 0_u128;
        for shift in (0..u128::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u128::from(byte & 0x7f);
            let part = bits.checked_shl(shift).filter(|part| part >> shift == bits);
            value |= part.ok_or_else(|| corrupt("number", "past 128 bits"))?;
            if byte & 0x80 == 0 {
                if byte == 0 && shift != 0 {
                    return Err(corrupt("number", "a longer encoding than it needs"));
                }
                return Ok(value);
            }
        }
        Err(corrupt("number", "past 128 bits"))
    }

    /// Refuses bytes that are left.
    ///
    /// # Errors
    /// `journal_corrupt`.
    pub fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(corrupt("bytes", format!("{} more than the value has", self.rest.len())))
    }
}

fn put_unsigned(mut value: u128, into: &mut Vec<u8>) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            into.push(low);
            return;
        }
        into.push(low | 0x80);
    }
}

/// What has an encoding.
pub trait Wire: Sized {
    /// Appends its bytes.
    fn put(&self, into: &mut Vec<u8>);

    /// Reads it.
    ///
    /// # Errors
    /// `journal_corrupt`, and what its type refuses.
    fn get(from: &mut Reader<'_>) -> Result<Self>;

    /// As people read it.
    fn value(&self) -> Value;
}

/// Numbers that have no sign.
macro_rules! unsigned {
    ($($type:ty),+) => {$(
        impl Wire for $type {
            fn put(&self, into: &mut Vec<u8>) {
                put_unsigned(u128::from(*self), into);
            }

            fn get(from: &mut Reader<'_>) -> Result<Self> {
                let value = from.unsigned()?;
                Self::try_from(value).map_err(|_| corrupt(stringify!($type), value))
            }

            fn value(&self) -> Value {
                Value::Int(i128::from(*self))
            }
        }
    )+};
}

unsigned!(u8, u16, u32, u64);

impl Wire for i128 {
    fn put(&self, into: &mut Vec<u8>) {
        put_unsigned(((self << 1) ^ (self >> 127)).cast_unsigned(), into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let zigzag = from.unsigned()?;
        Ok((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed())
    }

    fn value(&self) -> Value {
        Value::Int(*self)
    }
}

impl Wire for i64 {
    fn put(&self, into: &mut Vec<u8>) {
        let zigzag = ((self << 1) ^ (self >> 63)).cast_unsigned();
        put_unsigned(u128::from(zigzag), into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let value = i128::get(from)?;
        Self::try_from(value).map_err(|_| corrupt("i64", value))
    }

    fn value(&self) -> Value {
        Value::Int(i128::from(*self))
    }
}

/// Whole numbers of a unit, within its bounds.
macro_rules! units {
    ($($type:ty, $inner:ty, $field:literal;)+) => {$(
        impl Wire for $type {
            fn put(&self, into: &mut Vec<u8>) {
                self.get().put(into);
            }

            fn get(from: &mut Reader<'_>) -> Result<Self> {
                Self::new(i128::from(<$inner>::get(from)?), $field)
            }

            fn value(&self) -> Value {
                Value::Int(i128::from(self.get()))
            }
        }
    )+};
}

units! {
    MarkTicks, i64, "mark ticks";
    PriceTicks, i64, "price ticks";
    Lots, i64, "lots";
    Quanta, i128, "quanta";
}

/// One of several words.
macro_rules! words {
    ($($type:ty, $all:expr, $name:expr;)+) => {$(
        impl Wire for $type {
            fn put(&self, into: &mut Vec<u8>) {
                let place = $all.iter().position(|word| word == self);
                into.push(place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX));
            }

            fn get(from: &mut Reader<'_>) -> Result<Self> {
                let place = from.byte()?;
                let found = $all.get(usize::from(place)).copied();
                found.ok_or_else(|| $crate::engine::wire::corrupt(stringify!($type), place))
            }

            fn value(&self) -> Value {
                Value::Text($name(*self).to_owned())
            }
        }
    )+};
}
pub(super) use words;

words! {
    Side, [Side::Buy, Side::Sell], Side::name;
    LegSide, [LegSide::Net, LegSide::Long, LegSide::Short], LegSide::name;
    PoolKind, [PoolKind::Cross, PoolKind::Isolated, PoolKind::SubAccount], PoolKind::name;
}

impl Wire for bool {
    fn put(&self, into: &mut Vec<u8>) {
        into.push(u8::from(*self));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(corrupt("bool", other)),
        }
    }

    fn value(&self) -> Value {
        Value::Bool(*self)
    }
}

impl Wire for Arc<str> {
    fn put(&self, into: &mut Vec<u8>) {
        put_length(self.len(), into);
        into.extend_from_slice(self.as_bytes());
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let length = get_length(from, JOURNAL_RECORD_MAX)?;
        let text = std::str::from_utf8(from.take(length)?);
        text.map(Self::from).map_err(|error| corrupt("text", error))
    }

    fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

fn put_length(length: usize, into: &mut Vec<u8>) {
    put_unsigned(u128::try_from(length).unwrap_or(u128::MAX), into);
}

fn get_length(from: &mut Reader<'_>, most: usize) -> Result<usize> {
    let length = from.unsigned()?;
    let fits = usize::try_from(length).ok().filter(|length| *length <= most);
    fits.ok_or_else(|| corrupt("length", length))
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, into: &mut Vec<u8>) {
        into.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(into);
        }
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        if bool::get(from)? { T::get(from).map(Some) } else { Ok(None) }
    }

    fn value(&self) -> Value {
        self.as_ref().map_or(Value::None, Wire::value)
    }
}

impl<T: Wire> Wire for Arc<[T]> {
    fn put(&self, into: &mut Vec<u8>) {
        put_length(self.len(), into);
        self.iter().for_each(|item| item.put(into));
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let count = get_length(from, 2 * LEVELS_MAX)?;
        (0..count).map(|_| T::get(from)).collect()
    }

    fn value(&self) -> Value {
        Value::List(self.iter().map(Wire::value).collect())
    }
}

impl Wire for Rate {
    fn put(&self, into: &mut Vec<u8>) {
        self.num().put(into);
        self.den().put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let (num, den) = (i64::get(from)?, i64::get(from)?);
        let rate = Self::new(i128::from(num), i128::from(den), "rate")?;
        if rate.num() == num { Ok(rate) } else { Err(corrupt("rate", "not reduced")) }
    }

    fn value(&self) -> Value {
        Value::Text(self.to_string())
    }
}

impl Wire for Level {
    fn put(&self, into: &mut Vec<u8>) {
        self.price.put(into);
        self.quantity.put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { price: Wire::get(from)?, quantity: Wire::get(from)? })
    }

    fn value(&self) -> Value {
        Value::List(vec![self.price.value(), self.quantity.value()])
    }
}

impl Wire for InstrumentId {
    fn put(&self, into: &mut Vec<u8>) {
        self.0.put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        u32::get(from).map(Self)
    }

    fn value(&self) -> Value {
        self.0.value()
    }
}

impl Wire for AssetId {
    fn put(&self, into: &mut Vec<u8>) {
        self.0.put(into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        u8::get(from).map(Self)
    }

    fn value(&self) -> Value {
        self.0.value()
    }
}

impl Wire for PoolId {
    fn put(&self, into: &mut Vec<u8>) {
        put_length(self.0, into);
    }

    fn get(from: &mut Reader<'_>) -> Result<Self> {
        let place = u32::get(from)?;
        usize::try_from(place).map(Self).map_err(|_| corrupt("pool", place))
    }

    fn value(&self) -> Value {
        Value::Int(i128::try_from(self.0).unwrap_or(i128::MAX))
    }
}
