//! Frames, as every connection to a peer port reads them.

use bytes::BytesMut;
use catalog_client::frame::{Frame, FrameReader, put_frame};
use futures::executor::block_on;
use fuzzing::{frugal, fuzz, paid_by, spoil, spoilings};
use proptest::{collection::vec, prelude::*, sample::Index};
use tokio::io::AsyncReadExt;

fn written(frames: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for (kind, payload) in frames {
        put_frame(&mut bytes, *kind, payload);
    }
    bytes.to_vec()
}

/// The frames that come out of `bytes`, which arrive in two pieces, and whether they end well.
fn read(bytes: &[u8], cut: &Index) -> (Vec<Frame>, bool) {
    let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
    let mut reader = FrameReader::new(first.chain(second));
    let mut frames = Vec::new();
    block_on(async {
        loop {
            match reader.next().await {
                Ok(Some(frame)) => frames.push(frame),
                end => return (frames, end.is_ok()),
            }
        }
    })
}

#[test]
fn frames() {
    let good = vec((any::<u8>(), vec(any::<u8>(), 0..600)), 0..5);
    fuzz("frames", (good, spoilings(), any::<Index>()), |(good, spoilings, cut)| {
        let bytes = written(&good);
        let (frames, ended_well) = frugal(paid_by(bytes.len()), || read(&bytes, &cut));
        let frames: Vec<_> = frames.into_iter().map(|frame| (frame.kind, frame.payload.to_vec())).collect();
        assert!(ended_well && frames == good);
        let bytes = spoil(bytes, &spoilings);
        let (frames, ended_well) = frugal(paid_by(bytes.len()), || read(&bytes, &cut));
        let frames: Vec<_> = frames.into_iter().map(|frame| (frame.kind, frame.payload.to_vec())).collect();
        // Nothing comes out but what stands there.
        let again = written(&frames);
        assert!(bytes.starts_with(&again));
        assert_eq!(ended_well, bytes.len() == again.len(), "what is left over is an error");
    });
}
