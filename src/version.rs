//! `keyway version`.

use kvapi::problem::exit;

use crate::failure::Outcome;
use crate::output::Out;

pub(crate) fn run(out: &mut Out) -> Outcome {
    let version = env!("CARGO_PKG_VERSION");
    if out.is_json() {
        let about = serde_json::json!({
            "version": version,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "debug": cfg!(debug_assertions),
        });
        out.json(&about)?;
    } else {
        out.line(format_args!("keyway {version}"))?;
    }
    Ok(exit::OK)
}
