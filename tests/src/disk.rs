//! Disks that fail: what a server's files go through when power is lost, when a sync fails or takes long, when space
//! runs out, when a byte flips. Must not know what the files mean.
