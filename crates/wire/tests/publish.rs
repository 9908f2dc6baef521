//! Scripts of PUBLISH.

mod script;

use postrider_wire::Version::{V5, V31, V311};
use script::{check, decodes, fails};

/// v5 [MQTT-3.3.2-1] v3.1.1 [MQTT-3.3.2-1]: topic first, then identifier, then payload.
#[test]
fn publish_of_each_qos() {
    check(V31, "30 05 ''a/b'", "PUBLISH \"a/b\" qos=0 0B");
    check(V311, "30 07 ''a/b' 'hi'", "PUBLISH \"a/b\" qos=0 2B");
    check(V311, "33 09 ''a/b' 00 07 'hi'", "PUBLISH \"a/b\" qos=1 id=7 retain 2B");
    check(V5, "3c 0a ''a/b' ff ff 00 'hi'", "PUBLISH \"a/b\" qos=2 id=65535 dup 2B");
    let _ = (decodes, fails);
}
