//! End to end tests: each behaviour of the store by name, each flaw of its predecessor shown absent by name.
//! Real processes, real disks, free ports.
