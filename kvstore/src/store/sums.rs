//! The checksum of any piece of some bytes, without reading the piece.
//!
//! CRC-32 is a remainder of polynomials over two elements, so the sum of a piece follows from the sums
//! of what ends before it and with it: sum(a b) = sum(a) x^8|b| + sum(b).

use std::ops::Range;

/// A sum is kept at every so many bytes; the few up to a place are read.
const STEP: usize = 64;

/// The polynomial, its lowest power in the highest bit, as all numbers here.
const POLYNOMIAL: u32 = 0xedb8_8320;

const ONE: u32 = 1 << 31;

/// What is needed to tell every sum.
pub(super) struct Sums<'a> {
    content: &'a [u8],
    /// Of what ends at each step.
    steps: Vec<u32>,
    /// x^8, x^16, x^32 and so on.
    powers: [u32; 32],
}

impl<'a> Sums<'a> {
    pub(super) fn of(content: &'a [u8]) -> Self {
        let mut steps = vec![0];
        for step in content.chunks(STEP) {
            let before = steps.last().copied().unwrap_or_default();
            steps.push(go_on(before, step));
        }
        let mut powers = [ONE >> 8; 32];
        for n in 1..powers.len() {
            powers[n] = times(powers[n - 1], powers[n - 1]);
        }
        Self { content, steps, powers }
    }

    /// The CRC-32 of a piece, which must be within the bytes.
    pub(super) fn sum(&self, piece: Range<usize>) -> u32 {
        self.upto(piece.end) ^ self.shifted(self.upto(piece.start), piece.len())
    }

    fn upto(&self, end: usize) -> u32 {
        let step = end / STEP;
        go_on(self.steps[step], &self.content[step * STEP..end])
    }

    /// A sum times x^8 for each of some bytes.
    fn shifted(&self, sum: u32, bytes: usize) -> u32 {
        let bits = (0..self.powers.len()).filter(|bit| bytes >> bit & 1 == 1);
        bits.fold(sum, |sum, bit| times(self.powers[bit], sum))
    }
}

fn go_on(sum: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.update(bytes);
    hasher.finalize()
}

/// The product of two, modulo the polynomial.
fn times(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    for bit in (0..32).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ POLYNOMIAL } else { b >> 1 };
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_has_the_sum_that_reading_it_gives() {
        let content: Vec<u8> = (0..700_u32)
            .map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3])
            .collect();
        let sums = Sums::of(&content);
        for start in 0..content.len() {
            for end in (start..=content.len()).step_by(7) {
                let read = crc32fast::hash(&content[start..end]);
                assert_eq!(sums.sum(start..end), read, "{start}..{end}");
            }
        }
    }
}
