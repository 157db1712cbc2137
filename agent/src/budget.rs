//! What a render may take: steps, and bytes of what helpers make and of what is written.
//!
//! One budget for each template and one for all templates of a render job, so that neither a loop
//! over a loop nor a value that is doubled on and on takes the machine. A step is one turn of a
//! block, one partial, one call of a helper; see [`crate::templates`] for how turns are counted.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

/// The longest text that a helper may make, and the longest output of a template.
pub const MAX_TEXT: usize = 64 << 20;

/// See the module.
#[derive(Debug)]
pub struct Budget {
    whose: &'static str,
    steps: Left,
    bytes: Left,
}

#[derive(Debug)]
struct Left {
    left: AtomicU64,
    limit: u64,
}

impl Left {
    fn new(limit: u64) -> Self {
        Self {
            left: AtomicU64::new(limit),
            limit,
        }
    }

    /// Whether there was so much.
    fn take(&self, amount: u64) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(amount))
            .is_ok()
    }
}

impl Budget {
    /// A budget with these limits.
    #[must_use]
    pub fn new(whose: &'static str, steps: u64, bytes: u64) -> Self {
        Self {
            whose,
            steps: Left::new(steps),
            bytes: Left::new(bytes),
        }
    }

    /// What one template may take. The bytes count what helpers make, whether or not it is kept.
    #[must_use]
    pub fn template() -> Self {
        Self::new("this template", 5_000_000, 512 << 20)
    }

    /// What all templates of a job may take together. The bytes count what is written.
    #[must_use]
    pub fn job() -> Self {
        Self::new("all templates together", 50_000_000, 256 << 20)
    }

    /// Takes steps.
    pub fn step(&self, steps: u64) -> Result<(), String> {
        if self.steps.take(steps) {
            return Ok(());
        }
        let (whose, limit) = (self.whose, self.steps.limit);
        Err(format!(
            "{whose}: more than {limit} steps; a loop or a partial runs too often"
        ))
    }

    /// Takes bytes.
    pub fn bytes(&self, bytes: u64) -> Result<(), String> {
        if self.bytes.take(bytes) {
            return Ok(());
        }
        let (whose, limit) = (self.whose, self.bytes.limit);
        Err(format!("{whose}: more than {limit} bytes"))
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::job()
    }
}

/// About how much memory a value takes.
#[must_use]
pub fn weigh(value: &Value) -> u64 {
    let inner: usize = match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(items) => return 32 + items.iter().map(weigh).sum::<u64>(),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| 48 + name.len() as u64 + weigh(value);
            return 32 + fields.iter().map(field).sum::<u64>();
        }
    };
    32 + inner as u64
}

/// Refuses a text that would be too long, before it is made.
pub fn fits(length: usize) -> Result<(), String> {
    if length > MAX_TEXT {
        return Err(format!("the result is longer than {} MiB", MAX_TEXT >> 20));
    }
    Ok(())
}
