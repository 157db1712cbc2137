//! Whole lives of apps, in a world of the test's own.

mod deaths;
mod lives;
mod rolls;
mod town;
