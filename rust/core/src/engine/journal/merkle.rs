//! The Merkle tree hash of RFC 6962: a root that a stranger can check one record against.

use sha2::{Digest as _, Sha256};

/// 32 bytes of SHA-256.
pub type Hash = [u8; 32];

/// The hash of a leaf.
#[must_use]
pub fn leaf(data: &[u8]) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(data);
    hasher.finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left);
    hasher.update(right);
    hasher.finalize().into()
}

/// A tree that grows leaf by leaf: the roots of its perfect parts, the largest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    parts: Vec<Hash>,
    leaves: u64,
}

impl Tree {
    /// How many leaves it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.leaves
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.leaves == 0
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut new = leaf;
        // Two perfect parts of one size are one of the next.
        for _ in 0..self.leaves.trailing_ones() {
            if let Some(left) = self.parts.pop() {
                new = node(&left, &new);
            }
        }
        self.parts.push(new);
        self.leaves += 1;
    }

    /// The root; of no leaves the hash of nothing.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut parts = self.parts.iter().rev();
        match parts.next() {
            Some(last) => parts.fold(*last, |right, left| node(left, &right)),
            None => Sha256::digest([]).into(),
        }
    }

    /// Starts anew, with the memory it has.
    pub fn clear(&mut self) {
        self.parts.clear();
        self.leaves = 0;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    use crate::engine::journal::hex;

    /// The definition, from the top down.
    fn defined(leaves: &[&[u8]]) -> Hash {
        match leaves {
            [] => Sha256::digest([]).into(),
            [one] => leaf(one),
            all => {
                let mut half = 1;
                while half * 2 < all.len() {
                    half *= 2;
                }
                node(&defined(&all[..half]), &defined(&all[half..]))
            }
        }
    }

    #[test]
    fn the_published_roots() {
        // Inputs and roots of the reference tests of certificate transparency.
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "6e340b9c", "fac54203", "aeb6bcfe", "d37ee418", "4e3bbb1f", "76e67dad", "ddb89be4",
            "5dc9da79",
        ];
        let mut tree = Tree::default();
        assert!(hex(&tree.root()).starts_with("e3b0c442"));
        for (input, root) in inputs.iter().zip(roots) {
            tree.push(leaf(input));
            assert!(hex(&tree.root()).starts_with(root), "{} leaves", tree.len());
        }
    }

    #[test]
    fn any_number_of_leaves_is_as_defined() {
        let data: Vec<Vec<u8>> = (0..70_u8).map(|n| vec![n; usize::from(n % 5)]).collect();
        let mut tree = Tree::default();
        for count in 0..data.len() {
            let all: Vec<&[u8]> = data[..count].iter().map(Vec::as_slice).collect();
            assert_eq!(tree.root(), defined(&all), "{count}");
            tree.push(leaf(&data[count]));
        }
    }
}
