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
//! | [`constraints`] | where an instance may be, and which ones go so that the others stay even |
//! | [`share`] | a part of a number of instances, exactly |
//! | [`time`] | points in time as the API writes them |
//!
//! What acts:
//!
//! | room | what it holds |
//! | --- | --- |
//! | [`driver`] | the seam behind which instances start and stop: processes, containers |

pub mod app;
pub mod constraints;
pub mod driver;
pub mod share;
pub mod time;
