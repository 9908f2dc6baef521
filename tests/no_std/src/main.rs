//! Encodes and decodes packets with nothing but `core`, `alloc` and the C start-up code.
//!
//! The exit status is 0 if all went well, else the number of the step that failed; 101 is a panic.
//!
//! `unsafe` is allowed here and nowhere else: a program without the standard library brings its own
//! allocator, which is an unsafe trait, and the symbols that the start-up code looks for.
#![no_std]
#![no_main]

extern crate alloc;

use alloc::{boxed::Box, string::ToString, vec::Vec};
use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    panic::PanicInfo,
    ptr::null_mut,
    sync::atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use postrider_wire::{
    ClientId, Connect, Decoder, DecoderConfig, Event, Filter, PACKET_SIZE_MAX, Packet, Properties,
    Property, Publish, QoS, Topic, Version, encode,
};

/// Called by the start-up code of C.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
    match run() {
        Ok(()) => 0,
        Err(step) => step,
    }
}

/// A CONNECT and a PUBLISH go through encoder and decoder.
fn run() -> Result<(), i32> {
    let topic = Topic::new("plant/7/temp").map_err(|_| 1)?;
    let filter = Filter::new("plant/+/temp").map_err(|_| 2)?;
    if !filter.matches(&topic) {
        return Err(3);
    }
    let mut properties = Properties::new();
    properties.push(Property::ReceiveMaximum(20));
    let connect = Packet::Connect(Box::new(Connect {
        version: Version::V5,
        clean_start: true,
        keep_alive: 60,
        client_id: ClientId::new("press-7").map_err(|_| 4)?,
        user_name: None,
        password: None,
        will: None,
        properties,
    }));
    let publish = Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: true,
        topic: Some(topic),
        packet_id: None,
        properties: Properties::new(),
        payload: Bytes::from_static(b"21.5"),
    });
    let mut out = Vec::new();
    encode(&connect, Version::V5, PACKET_SIZE_MAX, &mut out).map_err(|_| 5)?;
    encode(&publish, Version::V5, PACKET_SIZE_MAX, &mut out).map_err(|_| 6)?;

    let config = DecoderConfig {
        packet_size_max: PACKET_SIZE_MAX,
        stream_above: 1024,
        is_topic_lenient: false,
    };
    let mut decoder = Decoder::new(config, None);
    let mut input = BytesMut::from(&out[..]);
    if decoder.decode(&mut input) != Ok(Some(Event::Packet(connect))) {
        return Err(7);
    }
    let Ok(Some(Event::Packet(packet))) = decoder.decode(&mut input) else { return Err(8) };
    if packet != publish || packet.to_string() != "PUBLISH \"plant/7/temp\" qos=0 retain 4B" {
        return Err(9);
    }
    if input.is_empty() { Ok(()) } else { Err(10) }
}

const ARENA: usize = 1 << 20;

/// An allocator that hands out a fixed piece of memory and takes nothing back.
struct Bump {
    memory: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: every byte of `memory` is handed out at most once, since `used` only grows.
unsafe impl Sync for Bump {}

// SAFETY: each block lies inside `memory`, is aligned as asked, and overlaps no other.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.memory.get().cast::<u8>();
        // Room for the alignment of any base address.
        let size = layout.size() + layout.align();
        let start = self.used.fetch_add(size, Ordering::Relaxed);
        if start + size > ARENA {
            return null_mut();
        }
        let address = base as usize + start;
        let padding = address.next_multiple_of(layout.align()) - address;
        // SAFETY: `start + padding + layout.size()` is at most `start + size`, which is inside.
        unsafe { base.add(start + padding) }
    }

    unsafe fn dealloc(&self, _block: *mut u8, _layout: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { memory: UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

/// Only what the start-up code itself comes from.
#[link(name = "c")]
unsafe extern "C" {
    fn exit(status: i32) -> !;
}

#[panic_handler]
fn panic(_info: &PanicInfo<'_>) -> ! {
    // SAFETY: `exit` may be called at any time, once.
    unsafe { exit(101) }
}

/// The prebuilt `core` and `alloc` name these two, though nothing unwinds in a program that aborts.
#[unsafe(no_mangle)]
pub extern "C" fn rust_eh_personality() {}

/// See [`rust_eh_personality`].
#[allow(non_snake_case, reason = "the name is given")]
#[unsafe(no_mangle)]
pub extern "C" fn _Unwind_Resume() -> ! {
    // SAFETY: as in `panic`.
    unsafe { exit(101) }
}
