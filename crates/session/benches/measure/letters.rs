//! Session ids that are not UUIDs, including colliding ones.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::sessions::Ids;

/// One for each choice of two in each of the 18 pairs of letters of an id.
const COUNT: usize = 1 << 18;

/// 2^18 ids of 36 random letters.
pub fn random() -> Ids {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut id = |_| std::array::from_fn(|_| random.random_range(b'A'..=b'Z'));
    Ids((0..COUNT).map(&mut id).collect())
}

/// As many ids that are one to every hash that sums up letters times powers of 31, such as
/// Java's `String.hashCode`: "Aa" and "BB" are the same to it.
pub fn colliding() -> Ids {
    let id = |number: usize| {
        std::array::from_fn(|at| match (number >> (at / 2) & 1, at % 2) {
            (0, 0) => b'A',
            (0, _) => b'a',
            _ => b'B',
        })
    };
    Ids((0..COUNT).map(id).collect())
}
