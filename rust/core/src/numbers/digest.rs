//! Canonical bytes and their SHA-256.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Its 32 bytes.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Writes canonical bytes: integers as 16 bytes big-endian, strings and lists behind their length.
#[derive(Debug, Clone, Default)]
pub struct Canonical(Sha256);

impl Canonical {
    /// Starts the bytes of one kind of thing; the kind's name comes first.
    #[must_use]
    pub fn of(kind: &str) -> Self {
        let mut canonical = Self(Sha256::new());
        canonical.text(kind);
        canonical
    }

    /// Appends an integer.
    pub fn int(&mut self, value: impl Into<i128>) -> &mut Self {
        self.0.update(value.into().to_be_bytes());
        self
    }

    /// Appends the length of a list or a string.
    pub fn length(&mut self, length: usize) -> &mut Self {
        self.0.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
        self
    }

    /// Appends a string.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.length(text.len());
        self.0.update(text.as_bytes());
        self
    }

    /// The digest of all that was appended.
    #[must_use]
    pub fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_the_bytes_as_written() {
        let mut c = Canonical::of("t");
        c.int(1).text("ab").length(2);
        let mut plain = Sha256::new();
        plain.update(1_u64.to_be_bytes());
        plain.update(b"t");
        plain.update(1_i128.to_be_bytes());
        plain.update(2_u64.to_be_bytes());
        plain.update(b"ab");
        plain.update(2_u64.to_be_bytes());
        let want: [u8; 32] = plain.finalize().into();
        assert_eq!(c.digest().bytes(), &want);
        let abc: [u8; 32] = Sha256::digest(b"abc").into();
        assert!(Digest(abc).to_string().starts_with("ba7816bf8f01cfea414140de5dae2223"));
    }
}
