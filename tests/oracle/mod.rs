//! Judges of what a store answered: pure, each with tests that show that it finds what is wrong.
//!
//! | file | what it judges |
//! | --- | --- |
//! | [`history`] | what clients asked and were answered; reads that may be old |
//! | [`register`] | by key: could it have happened one after the other |
//! | [`revisions`] | over all keys: revisions rise as time goes on, and one write has one |
//! | [`past`] | every change, revision by revision, as one server tells it |
//! | [`stream`] | the promises of a watch |
//! | [`locks`] | no two holders of one lock, and fencing numbers that only rise |

pub(crate) mod history;
pub(crate) mod locks;
pub(crate) mod past;
pub(crate) mod register;
pub(crate) mod revisions;
pub(crate) mod stream;
