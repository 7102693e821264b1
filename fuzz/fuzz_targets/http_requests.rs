#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| pilcrow::fuzzing::http_requests(input));
