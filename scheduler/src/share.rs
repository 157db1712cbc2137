//! A part of a number of instances, exactly.
//!
//! 0.07 of 100 is 7 here. In doubles it is 7.000000000000001, of which Marathon makes 8: where it rounds a number
//! that is whole on paper, we take the number on paper.

use std::fmt;

/// A number from 0 to 1, as somebody wrote it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share(f64);

impl Share {
    pub const NONE: Self = Self(0.0);
    pub const HALF: Self = Self(0.5);
    pub const ALL: Self = Self(1.0);

    /// `None` if it is not from 0 to 1.
    #[must_use]
    pub fn new(part: f64) -> Option<Self> {
        // Adding a positive zero takes the sign of a negative one away.
        (0.0..=1.0).contains(&part).then_some(Self(part + 0.0))
    }

    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// This part of `number`, rounded up.
    #[must_use]
    pub fn ceil_of(self, number: u32) -> u32 {
        let (digits, scale) = self.decimal();
        narrow((u128::from(number) * digits).div_ceil(scale))
    }

    /// `number` and this part of it, rounded down.
    #[must_use]
    pub fn floor_above(self, number: u32) -> u32 {
        let (digits, scale) = self.decimal();
        narrow(u128::from(number) + u128::from(number) * digits / scale)
    }

    /// The shortest decimal that means this number, as digits over a power of ten. What is smaller than a part of the
    /// largest number of instances would round to nothing is left off.
    fn decimal(self) -> (u128, u128) {
        const PLACES: usize = 18;
        let text = self.0.to_string();
        let (whole, behind) = text.split_once('.').unwrap_or((&text, ""));
        let behind = &behind[..behind.len().min(PLACES)];
        let scale = (0..behind.len()).fold(1, |scale, _| scale * 10);
        let digits = |text: &str| text.parse::<u128>().unwrap_or(0);
        (digits(whole) * scale + digits(behind), scale)
    }
}

/// Counts of instances stay far below this.
fn narrow(number: u128) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(part: f64) -> Share {
        Share::new(part).unwrap()
    }

    #[test]
    fn case_37_decimals_are_exact_where_doubles_are_not() {
        for (number, part, up) in [
            (100, 0.07, 7),
            (100, 0.55, 55),
            (50, 0.14, 7),
            (25, 0.28, 7),
            (3, 0.5, 2),
        ] {
            assert_eq!(share(part).ceil_of(number), up, "{number} {part}");
        }
        for (number, part, above) in [
            (100, 0.15, 115),
            (100, 0.13, 113),
            (1000, 0.36, 1360),
            (3, 0.7, 5),
            (10, 0.1, 11),
        ] {
            assert_eq!(share(part).floor_above(number), above, "{number} {part}");
        }
    }

    #[test]
    fn what_is_not_from_0_to_1_is_no_share() {
        for part in [-0.1, 1.5, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::new(part), None, "{part}");
        }
        assert!(Share::new(-0.0).unwrap().get().is_sign_positive());
    }

    proptest! {
        #[test]
        fn a_share_written_with_few_digits_is_taken_as_written(number in 0u32..100_000, thousandths in 0u32..=1000) {
            let part = share(f64::from(thousandths) / 1000.0);

            prop_assert_eq!(part.ceil_of(number), (number * thousandths).div_ceil(1000));
            prop_assert_eq!(part.floor_above(number), number + number * thousandths / 1000);
        }

        #[test]
        fn any_share_is_within_the_number(number: u32, part in 0.0..=1.0) {
            prop_assert!(share(part).ceil_of(number) <= number);
            prop_assert!(share(part).floor_above(number) >= number);
        }
    }
}
