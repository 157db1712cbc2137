//! How long things may be, in bytes, so that what is taken can be written. The store takes 512 KiB in one transaction, as JSON
//! with its values in base64, and one value of as much.

/// A request's body: definitions of a few thousand apps.
pub const BODY: usize = 8 << 20;

/// A definition of one app: its row is written twice, as what is to be and as a version, with what is beside it.
pub const DEFINITION: usize = 128 << 10;

/// The row of a deployment, under way or ended: a transaction of its own, less what base64 and names add.
pub const DEPLOYMENT: usize = 380_000;

/// The values of one transaction with many, less what base64 and their names add.
pub const TRANSACTION: usize = 300_000;

/// Why a task failed: it stands in the row of its app's launches, and with seven others in the reason of a deployment.
pub const MESSAGE: usize = 1000;

/// Why somebody changes something, as they say.
pub const REASON: usize = 1000;
