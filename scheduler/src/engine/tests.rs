//! Whole lives of apps, in a world of the test's own.

mod deaths;
mod large;
mod lives;
mod obstacles;
mod rolls;
mod town;
