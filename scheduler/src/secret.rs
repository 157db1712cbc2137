//! Something that only those know who may ask. It is never shown.

use std::fmt;
use std::hint::black_box;

/// See the module.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// `None` if it is empty: everybody would know it.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// Whether it is what was given. How long that takes tells nothing but how long the secret is.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let own = self.0.as_bytes();
        let differing = own
            .iter()
            .zip(given)
            .fold(0, |all, (a, b)| black_box(all | black_box(a ^ b)));
        differing == 0 && own.len() == given.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_itself_only_and_is_not_shown() {
        let secret = Secret::new("open sesame").unwrap();

        assert!(secret.is(b"open sesame"));
        for other in ["", "open", "open sesame!", "open sesamE", "xpen sesame"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
        assert!(!format!("{secret:?}").contains("sesame"));
        assert!(Secret::new("").is_none());
    }
}
