//! The agent: follows keys, renders files as one transaction, and reloads a program.
//!
//! ```text
//!   kvapi::watch ──News──► run ──Event──► core ──Action──► run ──► render, transaction, child
//!                           ▲              │ P                          │
//!                           └──── Done ────┼────────────────────────────┘
//!                                          ▼
//!                    stream, view, graph, quiescence, supervise (P)
//! ```
//!
//! `P` marks what is pure: no clock, chance, task, file, socket or log line.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`cli`] | flags of `run`, `once`, `render`, `validate`, `convert` |
//! | [`policy`] P, [`config`] P, [`load`] | what the user chose; files and flags, checked; reading them |
//! | [`formats`] P | values that stand bare in a format that is known |
//! | [`syntax`] P, [`lint`] P, [`templates`] P | what is wrong with a template before it is rendered; compiled templates |
//! | [`helpers`] P, [`render`] P | a template and a view become a text and a record of reads |
//! | [`budget`] P, [`steps`] P | what a render may take, and how its steps are counted |
//! | [`trace`] P | what is behind each line of a text |
//! | [`environment`] P | the variables of the program, from keys and otherwise |
//! | [`view`] P, [`stream`] P, [`graph`] P | our copy of the keys; what news mean for it; who reads what |
//! | [`quiescence`] P, [`supervise`] P | when a burst is over; the child's life |
//! | [`core`] P | **the decisions**: events in, actions out |
//! | [`run`], [`work`] | the loop: the one place that waits; what it has started, and how that ends |
//! | [`transaction`], [`checks`], [`step`] | stage, check, promote, put back; the checks; the renames that do it |
//! | [`reaction`] P | what several files ask for after a change becomes what is done once |
//! | [`write`](mod@write), [`folder`], [`owner`] | files, folders, whom they belong to |
//! | [`journal`], [`leftovers`] | what survives a kill; what a kill left that nobody needs |
//! | [`failpoint`] | where tests have it killed |
//! | [`cache`] | the last good values, for a start while the store is away |
//! | [`announce`] | the pid file; word that everything is in place |
//! | [`launch`] | what a process does of itself before it is the scheduler's task |
//! | [`child`], [`reap`], [`signals`], [`sources`] | processes; the one owner of waits; signals; template files that change |
//! | [`preview`], [`diff`] P | `agent render`; what differs between two texts |
//! | [`words`] P | how it is told that files cannot be made |
//! | [`convert`] P | consul-template's files become ours |
//! | [`files`] | files that templates show |
//! | [`document`] P | settings as JSON, YAML, TOML, an environment file or Consul's export |
//! | [`status`] P, [`metrics`] P, [`redact`] P, [`serve`] | what the agent tells of itself, and the socket where it does |
//! | [`parallel`] | many things side by side |
//! | [`nearest`] P, [`yaml`] P | "did you mean"; YAML out of JSON's types |

pub mod announce;
pub mod budget;
pub mod cache;
pub mod checks;
pub mod child;
pub mod cli;
pub mod config;
pub mod convert;
pub mod core;
pub mod diff;
pub mod document;
pub mod environment;
pub mod failpoint;
pub mod files;
pub mod folder;
pub mod formats;
pub mod graph;
pub mod helpers;
pub mod journal;
pub mod launch;
pub mod leftovers;
pub mod lint;
pub mod load;
pub mod metrics;
pub mod nearest;
pub mod owner;
pub mod parallel;
pub mod policy;
pub mod preview;
pub mod probe;
pub mod quiescence;
pub mod reaction;
pub mod reap;
pub mod redact;
pub mod render;
pub mod report;
pub mod run;
pub mod seen;
pub mod serve;
pub mod signals;
pub mod sources;
pub mod status;
pub mod step;
pub mod steps;
pub mod stream;
pub mod supervise;
pub mod syntax;
pub mod templates;
pub mod terminal;
pub mod trace;
pub mod transaction;
pub mod view;
pub mod words;
pub mod work;
pub mod write;
pub mod yaml;
