//! Frames cut, flipped and lying about their length; values that claim too much; the handshake.

use super::*;
use crate::{
    Action, Command, CommandId, KeyOrigin, Line, MAX_LINES, MAX_NUMBER,
    protocol::{Envelope, MAX_SUBMIT, Request},
};

#[test]
fn a_flipped_bit_anywhere_is_refused_or_waits_for_more() {
    let mut good = BytesMut::new();
    put_frame(&mut good, 7, b"payload");
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        if let Ok(Some(frame)) = take_frame(&mut bad) {
            panic!("bit {bit} flipped went unnoticed: {frame:?}");
        }
    }
}

#[tokio::test]
async fn frames_come_whole_through_a_pipe_of_one_byte() {
    let (mut near, far) = tokio::io::duplex(1);
    let sender = tokio::spawn(async move {
        for kind in 0..3 {
            write_frame(&mut near, kind, &[kind; 100]).await.unwrap();
        }
    });
    let mut reader = FrameReader::new(far);
    for kind in 0..3 {
        let frame = reader.next().await.unwrap().unwrap();
        assert_eq!((frame.kind, &frame.payload[..]), (kind, &[kind; 100][..]));
    }
    assert_eq!(reader.next().await.unwrap(), None);
    sender.await.unwrap();
}

/// A header that announces the longest frame, and nothing behind it, made the reader reserve all of it.
#[tokio::test]
async fn no_room_is_made_on_the_word_of_a_header() {
    let header = (MAX_PAYLOAD as u32).to_le_bytes();
    for come in [HEADER, 10_000, 100_000, 1_000_000] {
        let mut bytes = header.to_vec();
        bytes.resize(come, 7);
        let mut reader = FrameReader::new(&bytes[..]);
        assert_eq!(reader.next().await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let room = reader.buffer.capacity();
        assert!(room <= 4 * come.max(READ_AHEAD), "{room} bytes of room for {come}");
    }
}

#[test]
fn a_short_value_claims_no_more_than_a_mebibyte() {
    let claim = |length: usize, rest: usize| {
        let mut bytes = encode(&length);
        bytes.resize(bytes.len() + rest, b'x');
        let string = decode::<String>(&bytes).unwrap_err().to_string();
        let vec = decode::<Bytes>(&bytes).unwrap_err().to_string();
        assert_eq!(string, vec);
        string
    };
    let too_much = "LimitExceeded";
    assert!(claim(MAX_CLAIM, 3).contains(too_much));
    assert!(claim(usize::MAX, 3).contains(too_much));
    assert!(claim(MAX_PAYLOAD * BYTES_A_BYTE, MAX_PAYLOAD / 2).contains(too_much));
    assert!(!claim(1000, 3).contains(too_much));
}

/// One byte may stand for sixteen: a limit on the claims of a value must leave room for that, at every length.
#[test]
fn no_good_value_is_refused_for_what_it_claims() {
    for count in [0, 1, 65_530, 65_540, 524_280, 524_290, 4_194_300, 4_194_310] {
        let small = vec![1_u128; count];
        assert!(decode::<Vec<u128>>(&encode(&small)).unwrap() == small, "{count} small numbers");
    }
    let text = "x".repeat(MAX_PAYLOAD - 5);
    assert!(decode::<String>(&encode(&text)).unwrap() == text, "a text as long as a frame");
}

#[test]
fn the_longest_orders_fit_one_request() {
    let line = Line { item_number: MAX_NUMBER, quantity: MAX_NUMBER };
    let action = Action::PlaceOrder { lines: vec![line; MAX_LINES] };
    let command = Command { id: CommandId(u128::MAX), origin: KeyOrigin::Client, born: u64::MAX, action };
    let body = Request::Submit { commands: vec![command; MAX_SUBMIT], wait_ms: u32::MAX };
    assert!(encode(&Envelope { id: u64::MAX, body }).len() <= MAX_REQUEST);
}

#[tokio::test]
async fn a_handshake_loses_nothing_that_follows_it() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let hello = Hello {
        magic: MAGIC,
        version: VERSION,
        cluster: "test".into(),
        sender: "here".into(),
        sender_replica: None,
        receiver: 2,
        purpose: Purpose::Probe,
    };
    let expected = hello.clone();
    let server = tokio::spawn(async move {
        let (hello, mut reader, mut writer) = accept(listener.accept().await.unwrap().0).await.unwrap();
        assert_eq!(hello, expected);
        let mut both = BytesMut::new();
        put_frame(&mut both, HANDSHAKE, &encode(&Welcome::Accepted { id: 2, incarnation: 9 }));
        put_frame(&mut both, 5, &vec![1; MAX_HANDSHAKE + 1]);
        writer.write_all(&both).await.unwrap();
        assert_eq!(reader.next().await.unwrap().unwrap().payload.len(), MAX_HANDSHAKE);
        let too_long = reader.next().await.unwrap_err();
        assert_eq!(too_long.kind(), io::ErrorKind::InvalidData, "a probe needs no frame as long as this");
        let (_, _, mut writer) = accept(listener.accept().await.unwrap().0).await.unwrap();
        answer_hello(&mut writer, &Welcome::Refused("no".into())).await.unwrap();
        let stranger = accept(listener.accept().await.unwrap().0).await;
        assert_eq!(stranger.unwrap_err().kind(), io::ErrorKind::InvalidData);
    });
    let patience = Duration::from_secs(10);
    let mut link = connect(&address, &hello, patience).await.unwrap();
    assert_eq!((link.id, link.incarnation), (2, 9));
    assert_eq!(link.reader.next().await.unwrap().unwrap().kind, 5);
    for length in [MAX_HANDSHAKE, MAX_HANDSHAKE + 1] {
        write_frame(&mut link.writer, 5, &vec![1; length]).await.unwrap();
    }
    drop(link);
    let refused = connect(&address, &hello, patience).await.unwrap_err();
    assert_eq!((refused.kind(), refused.to_string()), (io::ErrorKind::PermissionDenied, "no".to_owned()));
    let other = Hello { version: VERSION + 1, ..hello };
    assert_eq!(connect(&address, &other, patience).await.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    server.await.unwrap();
}
