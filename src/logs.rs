//! Log lines: on stderr, for whoever operates the program.

use kvapi::Problem;
use kvapi::problem::exit;
use tracing_subscriber::EnvFilter;

use crate::globals::LogFormat;
use crate::settings::Settings;

/// Starts logging: `KEYWAY_LOG` over -q and -v over what the command is used to (`calm` shows
/// warnings only, otherwise what a server tells about its life).
pub(crate) fn start(settings: &Settings, calm: bool) -> Result<(), Problem> {
    let level = match (settings.quiet, settings.verbose) {
        (true, _) => "error",
        (false, 0) if calm => "warn",
        (false, 0) => "info",
        (false, 1) => "debug",
        (false, _) => "trace",
    };
    // openraft tells each heartbeat at debug, and of its own end as of an error; what the store
    // cannot go on with is told by the store.
    let others = if settings.verbose > 1 {
        "debug"
    } else {
        "warn,openraft=off"
    };
    let ours = ["keyway", "kvapi", "kvstore", "agent", "scheduler"].map(|name| format!("{name}={level}"));
    let default = format!("{others},{}", ours.join(","));
    let filter = match std::env::var("KEYWAY_LOG").ok().filter(|text| !text.is_empty()) {
        Some(text) => EnvFilter::try_new(&text).map_err(|e| {
            Problem::new(
                exit::USAGE,
                format!("KEYWAY_LOG: `{text}` does not say which log lines: {e}"),
            )
            .help("write a level such as debug, or one for a part such as kvstore=trace, separated by commas")
        })?,
        None => EnvFilter::new(default),
    };
    // Behind what anybody asks for: these may not say more.
    let filter = [agent::sources::LOGGED, scheduler::driver::LOGGED]
        .iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    // A second subscriber in one process would be a bug; the first one then simply stays.
    let _ = match settings.log_format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => builder
            .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .with_target(false)
            .compact()
            .try_init(),
    };
    Ok(())
}
