//! What every end-to-end test needs: a folder, the programs, a bound in time, and patience.

mod agent;
mod compactor;
mod disk;
mod docker;
mod eventually;
pub(crate) mod harm;
mod home;
mod keyway;
mod liar;
mod link;
mod process;
mod program;
mod record;
mod resources;
mod server;
mod stream;
mod terminal;
mod test;
mod web;

pub(crate) use agent::Agent;
pub(crate) use disk::{Disk, note_left_out};
pub(crate) use docker::Docker;
pub(crate) use eventually::{eventually, holds};
pub(crate) use home::{Home, write_file};
pub(crate) use keyway::{Keyway, Said};
pub(crate) use liar::{Liar, Lie};
pub(crate) use link::Link;
pub(crate) use process::{Process, by_environment, descendants};
pub(crate) use program::{Exit, Program, binary, command};
pub(crate) use record::Record;
pub(crate) use resources::open_files;
pub(crate) use server::{Options, Server};
pub(crate) use stream::{Stream, keys};
pub(crate) use test::{alone, long, test};
pub(crate) use web::{ask, backend, backend_at};
