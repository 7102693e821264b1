#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    pilcrow_fuzz::registration(input);
});
