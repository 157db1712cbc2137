//! The scheduler's HTTP API: Marathon's `/v2`, and under `/v1` what Marathon has no place for.
//!
//! | room | what it holds |
//! | --- | --- |
//! | `server` | connections, who may ask, and the way to whoever leads |
//! | `route` | which question a path is |
//! | `query` | what stands behind the `?` |
//! | `answer` | statuses, and errors as Marathon's clients read them |
//! | `apps`, `groups`, `tasks`, `deployments`, `queue`, `about` | the questions |
//! | `view` | apps and tasks as JSON |
//! | `stream` | events |
//! | `ours`, `hooks` | `/v1` |

mod about;
mod answer;
mod apps;
mod deployments;
mod forward;
mod groups;
mod hooks;
mod ours;
mod query;
mod queue;
mod route;
pub mod server;
mod stream;
mod tasks;
mod view;

pub use server::{Door, Server};
