//! End-to-end tests: the real programs, started as processes, spoken to as a user would.
//!
//! One binary, so that it is linked once. A test is a sentence that is true; `harness::test` gives it
//! a folder and a bound in time, `harness::alone` also the whole machine.

mod harness;
mod oracle;

// The main job, as the README tells it.
mod demo;
mod denied;
mod readme;
// The store as its users see it: the command line, the API, watches, doors, what a kill leaves.
mod assertions;
mod benches;
mod clients;
mod clients_failover;
mod commands;
mod compaction;
mod consul;
mod consul_cluster;
mod consul_commands;
mod consul_compat;
mod consul_failover;
mod consul_others;
mod consul_snapshots;
mod crashes;
mod damage;
mod doors;
mod durability;
mod failing_disk;
mod failover;
mod faults;
mod full_disk;
mod globals;
mod json_page;
mod kv_accident;
mod kv_edit;
mod kv_export;
mod kv_history;
mod kv_import;
mod kv_lock;
mod kv_read;
mod kv_revert;
mod kv_txn;
mod kv_watch;
mod kv_write;
mod limits;
mod lists;
mod lost_log;
mod members;
mod members_under_load;
mod microbots;
mod million;
mod mixture;
mod openapi;
mod overload;
mod planted;
mod restores;
mod restores_cluster;
mod rounds;
mod server;
mod slow_readers;
mod snapshots;
mod status;
mod streams;
mod untaken;
mod waiters;
mod watch;
mod watchers;
// The agent: one revision at a time, outages, the child.
mod agent_page;
mod containers;
mod containers_of_apps;
mod containers_of_tasks;
mod environment;
mod lies;
mod load;
mod names;
mod outage;
mod preview;
mod reloads;
mod report;
mod secrets;
mod supervision;
mod torn;
mod validate;
mod variables;
// The scheduler: apps deployed, rolled and kept well; the command that does so.
mod balancer;
mod deploy;
mod deploy_failures;
mod deploying;
mod labels;
mod marathon_apps;
mod marathon_clients;
mod marathon_deployments;
mod marathon_events;
mod marathon_groups;
mod marathon_health;
mod marathon_programs;
mod marathon_tasks;
mod marathon_versions;
mod pulls;
mod reasons;
mod registry_hook;
mod rolling;
mod schedulers;
mod secrets_of_apps;
mod tls;
// What ships beside the programs, and the rules of the house.
mod examples;
mod templates;
mod tidy;
