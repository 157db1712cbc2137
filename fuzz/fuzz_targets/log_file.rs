#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kvstore::store::fuzzing::log_file(bytes));
