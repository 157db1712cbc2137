//! The scheduler: deploys apps, keeps their instances healthy, and rolls new versions through them.
//!
//! It takes Marathon's app definitions and serves Marathon's `/v2`. What it knows is in the store, so that another scheduler
//! can go on where one died.
//!
//! Pure, without clock, chance, task, socket or file:
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`app`] | an app's definition: read, checked, canonical; laid over another ([`app::merge`]), compared with it ([`app::change`]); what its tasks are told |
//! | [`extension`] | what an app's labels say beyond Marathon |
//! | [`constraints`] | where an instance may be, and which ones go so that the others stay even |
//! | [`plan`] | what is safe to do next |
//! | [`health`], [`backoff`] | what checks say; how long what fails waits |
//! | [`instance`], [`deployment`], [`world`], [`mod@keys`] | all that is known, and where it is kept |
//! | [`engine`] | what goes in becomes what is to be written and done |
//! | [`event`] | what the event stream tells |
//! | [`pushed`], [`secret`] | what a registry tells of images, and how it shows that it may |
//! | [`mod@limits`] | how long bodies, definitions, rows and messages may be |
//! | [`share`], [`time`] | a part of a number of instances, exactly; points in time as the API writes them |
//!
//! What acts:
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`run`] | who leads, the loop round the engine, the writer, the probes |
//! | [`driver`] | the seam behind which instances start and stop: processes, containers |
//! | [`api`], [`hub`] | Marathon's `/v2` and our `/v1`; events to whoever listens |
//! | `tls` | TLS towards instances that are checked, and servers that files are fetched from |

pub mod api;
pub mod app;
pub mod backoff;
pub mod constraints;
pub mod deployment;
pub mod driver;
pub mod engine;
pub mod event;
pub mod extension;
pub mod health;
pub mod hub;
pub mod instance;
pub mod keys;
pub mod limits;
pub mod plan;
pub mod pushed;
pub mod run;
pub mod secret;
pub mod share;
pub mod time;
mod tls;
pub mod world;
