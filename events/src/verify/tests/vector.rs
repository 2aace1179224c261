//! The worked example of `docs/log-format.md` §8: what the page shows is what the code computes.

use super::generate::{Log, New};
use crate::document::Document;
use crate::head_note::{Head, HeadNote};
use crate::ids::{Position, Sequence, TenantId};
use crate::keyring::{self, SigningKeyIntroduced};
use crate::signature::{KeyPair, Signer};

const PAGE: &str = include_str!("../../../../docs/log-format.md");

/// The example as the page shows it.
fn example() -> String {
    let seed: [u8; 32] = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let key = KeyPair::from_seed(&seed);
    let public = key.public_key();
    let payload = SigningKeyIntroduced::of(&public, None);
    let new = New {
        aggregate: keyring::AGGREGATE,
        aggregate_id: keyring::AGGREGATE_ID,
        event_type: keyring::SIGNING_KEY_INTRODUCED,
        payload: serde_json::to_string(&payload).unwrap(),
    };
    let recorded_at = "2026-11-20T12:00:00.000000Z".parse().unwrap();
    let mut log = Log::new(TenantId::PLATFORM);
    let event = log
        .append_as(&key, &new, Position(1), Sequence(1), recorded_at)
        .clone();
    let head = Head {
        tenant: event.tenant,
        position: event.position,
        hash: event.hash,
        time: "2026-11-20T12:01:00.000000Z".parse().unwrap(),
    };
    let document = Document::new("allow := true\n".to_owned()).unwrap();
    let note = HeadNote::sign(head, &key);
    let note = note
        .as_str()
        .trim_end()
        .replace('\n', "\n    ")
        .replace("    \n", "\n");
    format!(
        "    seed         {}\n    public key   {public}\n    fingerprint  {}\n    key_id       {}\n\n\
         The key event that introduces it, the first event of the platform log: envelope, hash, signature.\n\n    \
         {}\n\n    hash         {}\n    signature    {}\n\n\
         A head note for it:\n\n    {note}\n\n\
         The document `allow := true` with a newline at its end, {} bytes:\n\n    digest       {}\n",
        hex::encode(seed),
        public.fingerprint(),
        public.id(),
        event.envelope,
        event.hash,
        event.signature,
        document.reference().bytes,
        document.reference().digest,
    )
}

#[test]
fn the_example_of_the_log_format_page_is_what_the_code_computes() {
    let (_, shown) = PAGE.split_once("never use this one.\n\n").unwrap();
    assert_eq!(shown, example());
}
