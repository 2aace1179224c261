//! Export files: what is written reads back; whatever is done to a file is found, by both verifiers alike.
//!
//! The second verifier is `tests/verifier/verify.py`, written from `docs/log-format.md` alone.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::generate::{Installation, Log, New, introduce};
use crate::document::Document;
use crate::export::{ExportReader, Line};
use crate::ids::Position;
use crate::signature::{KeyPair, Signer};
use crate::verify::FindingKind;

/// Position and kind of everything found, whichever verifier found it.
type Found = BTreeSet<(u64, String)>;

fn ours(installation: &Installation, file: &[u8], head_notes: &[String]) -> Found {
    match installation.verify_export(file, head_notes) {
        Ok(report) => {
            let found = report.findings.kept().iter();
            found
                .map(|finding| (finding.position.0, finding.kind.to_string()))
                .collect()
        }
        // A file without a header belongs to no log: the other verifier calls that malformed, at 0.
        Err(_) => Found::from([(0, "malformed".to_owned())]),
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The interpreter to which `deploy/dev/setup.sh --tests` gave the packages of `tests/requirements.txt`.
fn python() -> PathBuf {
    let prepared = repository().join(".counterfoil/tools/venv/bin/python");
    if prepared.exists() {
        prepared
    } else {
        "python3".into()
    }
}

fn theirs(installation: &Installation, file: &[u8], head_notes: &[String]) -> Found {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log.jsonl");
    std::fs::File::create(&path).unwrap().write_all(file).unwrap();
    let mut command = Command::new(python());
    command
        .arg(repository().join("tests/verifier/verify.py"))
        .arg(&path)
        .arg(installation.root().to_string());
    for (number, note) in head_notes.iter().enumerate() {
        let path = directory.path().join(format!("note-{number}"));
        std::fs::write(&path, note).unwrap();
        command.arg(path);
    }
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let (text, errors) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8_lossy(&output.stderr),
    );
    let found: Found = text.lines().filter_map(finding_of_line).collect();
    let expected = i32::from(!found.is_empty());
    assert_eq!(output.status.code(), Some(expected), "{text}{errors}");
    assert!(text.contains("events"), "it says what it read: {text}{errors}");
    found
}

/// `finding <tenant> <position> <kind> …`
fn finding_of_line(line: &str) -> Option<(u64, String)> {
    let mut words = line.strip_prefix("finding ")?.split(' ').skip(1);
    Some((words.next()?.parse().unwrap(), words.next()?.to_owned()))
}

/// An installation with two keys and a log of twelve events with documents.
fn example() -> (Installation, Log) {
    let installation = Installation::new(2);
    let log = installation.log(7, 12);
    (installation, log)
}

fn lines(file: &str) -> Vec<String> {
    file.lines().map(str::to_owned).collect()
}

fn join(lines: &[String]) -> Vec<u8> {
    let mut file = lines.join("\n").into_bytes();
    file.push(b'\n');
    file
}

/// The index of the `number`th line of a kind.
fn nth(lines: &[String], kind: &str, number: usize) -> usize {
    let start = format!("{{\"{kind}\":");
    let mut found = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with(&start));
    found.nth(number).unwrap().0
}

fn flip_hex(line: &str, field: &str) -> String {
    let at = line.rfind(&format!("\"{field}\":\"")).unwrap() + field.len() + 4;
    let digit = if &line[at..=at] == "0" { "1" } else { "0" };
    format!("{}{digit}{}", &line[..at], &line[at + 1..])
}

fn count_one_document_more(trailer: &str) -> String {
    let (start, rest) = trailer.split_once("\"documents\":").unwrap();
    let (count, end) = rest.split_once(',').unwrap();
    let more = count.parse::<u64>().unwrap() + 1;
    format!("{start}\"documents\":{more},{end}")
}

#[test]
fn an_intact_file_passes_both_verifiers_whole_and_from_its_middle() {
    let (installation, log) = example();
    let note = log.head_note(installation.signer()).as_str().to_owned();
    for from in [1, 6] {
        let file = installation.export(&log, from).into_bytes();
        for notes in [vec![], vec![note.clone()]] {
            assert_eq!(ours(&installation, &file, &notes), Found::new());
            assert_eq!(theirs(&installation, &file, &notes), Found::new());
        }
    }
}

/// One thing done to a file, and what has to be found.
struct Case {
    name: &'static str,
    tamper: fn(&mut Vec<String>),
    finds: &'static [(u64, FindingKind)],
}

const CASES: &[Case] = &[
    Case {
        name: "an altered envelope",
        tamper: |lines| {
            let at = nth(lines, "event", 4);
            lines[at] = lines[at].replace("r-1", "r-2");
        },
        finds: &[(5, FindingKind::HashMismatch)],
    },
    Case {
        name: "an altered hash",
        tamper: |lines| {
            let at = nth(lines, "event", 4);
            lines[at] = flip_hex(&lines[at], "hash");
        },
        finds: &[(5, FindingKind::HashMismatch)],
    },
    Case {
        name: "an altered signature",
        tamper: |lines| {
            let at = nth(lines, "event", 4);
            lines[at] = flip_hex(&lines[at], "signature");
        },
        finds: &[(5, FindingKind::SignatureInvalid)],
    },
    Case {
        name: "another key's name",
        tamper: |lines| {
            let at = nth(lines, "event", 4);
            lines[at] = flip_hex(&lines[at], "key_id");
        },
        finds: &[(5, FindingKind::UnknownKey)],
    },
    Case {
        name: "an event deleted",
        tamper: |lines| drop(lines.remove(nth(lines, "event", 4))),
        finds: &[(5, FindingKind::Gap), (12, FindingKind::ColumnsDisagree)],
    },
    Case {
        name: "the first event deleted",
        tamper: |lines| drop(lines.remove(nth(lines, "event", 0))),
        finds: &[(1, FindingKind::Gap), (12, FindingKind::ColumnsDisagree)],
    },
    Case {
        name: "the last event deleted",
        tamper: |lines| drop(lines.remove(nth(lines, "event", 11))),
        finds: &[(12, FindingKind::MissingTail), (12, FindingKind::ColumnsDisagree)],
    },
    Case {
        name: "the file cut",
        tamper: |lines| lines.truncate(nth(lines, "event", 8)),
        finds: &[(9, FindingKind::MissingTail), (12, FindingKind::MissingTail)],
    },
    Case {
        name: "two events swapped",
        tamper: |lines| {
            let at = nth(lines, "event", 5);
            lines.swap(at, at + 1);
        },
        finds: &[(6, FindingKind::Gap), (6, FindingKind::Duplicate)],
    },
    Case {
        name: "an event repeated",
        tamper: |lines| {
            let at = nth(lines, "event", 5);
            lines.insert(at, lines[at].clone());
        },
        finds: &[(6, FindingKind::Duplicate), (12, FindingKind::ColumnsDisagree)],
    },
    Case {
        name: "a line that is no JSON",
        tamper: |lines| {
            let at = nth(lines, "event", 4);
            lines[at].pop();
        },
        finds: &[(5, FindingKind::Malformed)],
    },
    Case {
        name: "a line with a member too many",
        tamper: |lines| {
            let at = nth(lines, "event", 4);
            lines[at] = lines[at].replacen("{\"envelope\"", "{\"more\":1,\"envelope\"", 1);
        },
        finds: &[(5, FindingKind::Malformed)],
    },
    Case {
        name: "an altered document",
        tamper: |lines| {
            let at = nth(lines, "document", 1);
            lines[at] = lines[at].replace("true", "fals");
        },
        finds: &[(5, FindingKind::DocumentMismatch)],
    },
    Case {
        name: "a forged document that no event refers to",
        tamper: |lines| {
            let at = nth(lines, "document", 1);
            let forged = flip_hex(&lines[at], "digest");
            lines.insert(at, forged);
            let last = lines.last_mut().unwrap();
            *last = count_one_document_more(last);
        },
        finds: &[(5, FindingKind::DocumentMismatch)],
    },
    Case {
        name: "a forged document before the right one of its digest",
        tamper: |lines| {
            let at = nth(lines, "document", 1);
            let forged = lines[at].replacen("\"body\":\"", "\"body\":\"not ", 1);
            lines.insert(at, forged);
            let last = lines.last_mut().unwrap();
            *last = count_one_document_more(last);
        },
        finds: &[(5, FindingKind::DocumentMismatch)],
    },
    Case {
        name: "a document deleted",
        tamper: |lines| drop(lines.remove(nth(lines, "document", 1))),
        finds: &[
            (5, FindingKind::MissingDocument),
            (12, FindingKind::ColumnsDisagree),
        ],
    },
    Case {
        name: "a document after its event",
        tamper: |lines| {
            let at = nth(lines, "document", 1);
            lines.swap(at, at + 1);
        },
        finds: &[(5, FindingKind::MissingDocument)],
    },
    Case {
        name: "the second key deleted",
        tamper: |lines| drop(lines.remove(nth(lines, "key", 1))),
        finds: &[
            (1, FindingKind::UnknownKey),
            (12, FindingKind::UnknownKey),
            (12, FindingKind::ColumnsDisagree),
        ],
    },
    Case {
        name: "the first key deleted",
        tamper: |lines| drop(lines.remove(nth(lines, "key", 0))),
        finds: &[(3, FindingKind::UnknownKey), (12, FindingKind::UnknownKey)],
    },
    Case {
        name: "a key event altered",
        tamper: |lines| {
            let at = nth(lines, "key", 1);
            lines[at] = lines[at].replace("r-1", "r-2");
        },
        finds: &[
            (3, FindingKind::HashMismatch),
            (3, FindingKind::SignatureInvalid),
            (12, FindingKind::UnknownKey),
        ],
    },
    Case {
        name: "the header of another tenant",
        tamper: |lines| lines[0] = lines[0].replacen("0707", "0708", 1),
        finds: &[(1, FindingKind::ForeignTenant), (12, FindingKind::ForeignTenant)],
    },
    Case {
        name: "the header of a longer log",
        tamper: |lines| lines[0] = lines[0].replace("\"to\":12", "\"to\":15"),
        finds: &[
            (13, FindingKind::MissingTail),
            (15, FindingKind::HeadNoteConflict),
        ],
    },
    Case {
        name: "the header of a shorter log",
        tamper: |lines| lines[0] = lines[0].replace("\"to\":12", "\"to\":11"),
        finds: &[(11, FindingKind::HeadNoteConflict), (12, FindingKind::Ahead)],
    },
    Case {
        name: "another root in the header",
        tamper: |lines| lines[0] = flip_hex(&lines[0], "root"),
        finds: &[(0, FindingKind::ColumnsDisagree)],
    },
    Case {
        name: "something before position 1",
        tamper: |lines| lines[0] = flip_hex(&lines[0], "prev"),
        finds: &[(0, FindingKind::ColumnsDisagree)],
    },
    Case {
        name: "another hash in the trailer",
        tamper: |lines| {
            let at = nth(lines, "trailer", 0);
            lines[at] = flip_hex(&lines[at], "hash");
        },
        finds: &[(12, FindingKind::ChainBroken)],
    },
    Case {
        name: "an altered head note",
        tamper: |lines| {
            let at = nth(lines, "trailer", 0);
            lines[at] = lines[at].replace("\\n12\\n", "\\n13\\n");
        },
        finds: &[(12, FindingKind::SignatureInvalid)],
    },
    Case {
        name: "no head note",
        tamper: |lines| {
            let at = nth(lines, "trailer", 0);
            let note = lines[at].find("counterfoil head").unwrap();
            lines[at] = format!("{}\"}}}}", &lines[at][..note]);
        },
        finds: &[(12, FindingKind::Malformed)],
    },
    Case {
        name: "an event after the trailer",
        tamper: |lines| lines.push(lines[nth(lines, "event", 4)].clone()),
        finds: &[(12, FindingKind::Malformed)],
    },
    Case {
        name: "a key among the events",
        tamper: |lines| {
            let key = lines[nth(lines, "key", 0)].clone();
            lines.insert(nth(lines, "event", 4), key);
        },
        finds: &[(5, FindingKind::Malformed)],
    },
    Case {
        name: "no header",
        tamper: |lines| drop(lines.remove(0)),
        finds: &[(0, FindingKind::Malformed)],
    },
    Case {
        name: "nothing at all",
        tamper: Vec::clear,
        finds: &[(0, FindingKind::Malformed)],
    },
];

#[test]
fn both_verifiers_find_the_same_in_every_tampered_file() {
    let (installation, log) = example();
    let intact = lines(&installation.export(&log, 1));
    for Case { name, tamper, finds } in CASES {
        let mut tampered = intact.clone();
        tamper(&mut tampered);
        assert_ne!(tampered, intact, "{name}");
        let file = if tampered.is_empty() {
            Vec::new()
        } else {
            join(&tampered)
        };
        let found = ours(&installation, &file, &[]);
        for (position, kind) in *finds {
            assert!(
                found.contains(&(*position, kind.to_string())),
                "{name}: {position} {kind} in {found:?}"
            );
        }
        assert_eq!(theirs(&installation, &file, &[]), found, "{name}");
    }
}

#[test]
fn both_verifiers_find_what_only_the_signer_could_have_forged() {
    let (installation, _) = example();
    let mut forgeries = Vec::new();
    let signer = installation.signer();
    let stranger = KeyPair::from_seed(&[99; 32]);
    let usual = |payload: &str| New {
        aggregate: "agent",
        aggregate_id: "a9",
        event_type: "AgentChanged",
        payload: payload.to_owned(),
    };
    let forge = |index: usize, change: &dyn Fn(&str) -> String, key: &KeyPair| {
        let mut log = installation.log(7, 12);
        let event = &mut log.events[index];
        *event = super::generate::record(event.tenant, event.position, change(&event.envelope), key);
        log
    };
    forgeries.push(("a re-signed event", forge(4, &str::to_owned, &stranger)));
    forgeries.push((
        "a later format",
        forge(4, &|envelope| envelope.replacen("\"v\":1", "\"v\":2", 1), signer),
    ));
    forgeries.push((
        "another past",
        forge(4, &|envelope| envelope.replace("r-1", "r-2"), signer),
    ));
    forgeries.push((
        "a repeated member",
        forge(
            4,
            &|envelope| envelope.replacen("\"v\":1", "\"v\":1,\"v\":1", 1),
            signer,
        ),
    ));
    forgeries.push((
        "a position as text",
        forge(
            4,
            &|envelope| envelope.replacen("\"position\":5", "\"position\":\"5\"", 1),
            signer,
        ),
    ));
    let mut jump = installation.log(7, 3);
    let (position, moment) = (Position(4), super::generate::moment(1));
    jump.append_as(signer, &usual("{}"), position, crate::ids::Sequence(2), moment);
    forgeries.push(("a jump and an earlier time", jump));
    let mut missing = installation.log(7, 3);
    missing.documents.push(Document::new("there".to_owned()).unwrap());
    let reference = serde_json::to_string(&missing.documents[1].reference()).unwrap();
    missing.append(signer, &usual(&format!(r#"{{"list":[{{"deep":{reference}}}]}}"#)));
    let mut file = lines(&installation.export(&missing, 1));
    drop(file.remove(nth(&file, "document", 1)));
    let file = join(&file);
    assert!(ours(&installation, &file, &[]).contains(&(4, "missing_document".to_owned())));
    assert_eq!(theirs(&installation, &file, &[]), ours(&installation, &file, &[]));
    for (name, log) in forgeries {
        let file = export_unchecked(&installation, &log);
        let found = ours(&installation, &file, &[]);
        assert!(!found.is_empty(), "{name}");
        assert_eq!(theirs(&installation, &file, &[]), found, "{name}");
    }
}

/// An export of a log whose envelopes need not be readable: the intact one's lines, exchanged.
fn export_unchecked(installation: &Installation, log: &Log) -> Vec<u8> {
    let mut readable = log.clone();
    let intact = installation.log(7, u8::try_from(log.events.len()).unwrap());
    for (event, intact) in readable.events.iter_mut().zip(&intact.events) {
        if event.parse().is_err() {
            *event = intact.clone();
        }
    }
    let mut file = lines(&installation.export(&readable, 1));
    for (number, event) in log.events.iter().enumerate() {
        let line = crate::export::EventLine {
            envelope: event.envelope.clone(),
            hash: event.hash,
            key_id: event.key_id,
            signature: event.signature,
        };
        let at = nth(&file, "event", number);
        file[at] = format!("{{\"event\":{}}}", serde_json::to_string(&line).unwrap());
    }
    join(&file)
}

#[test]
fn a_head_note_kept_elsewhere_shows_that_a_file_was_cut_and_made_whole_again() {
    let (installation, log) = example();
    let note = log.head_note(installation.signer()).as_str().to_owned();
    let mut earlier = log.clone();
    earlier.events.truncate(9);
    let file = installation.export(&earlier, 1).into_bytes();
    assert_eq!(
        ours(&installation, &file, &[]),
        Found::new(),
        "nothing in the file itself shows it"
    );
    let found = Found::from([(10, "missing_tail".to_owned())]);
    assert_eq!(ours(&installation, &file, std::slice::from_ref(&note)), found);
    assert_eq!(theirs(&installation, &file, &[note]), found);

    let mut other = installation.log(7, 8);
    other.append_any(installation.signer(), 1);
    let note = other.head_note(installation.signer()).as_str().to_owned();
    let found = Found::from([(9, "head_note_conflict".to_owned())]);
    assert_eq!(ours(&installation, &file, std::slice::from_ref(&note)), found);
    assert_eq!(theirs(&installation, &file, &[note]), found);
}

#[test]
fn both_verifiers_know_when_a_key_was_introduced() {
    let mut installation = Installation::new(1);
    let second = KeyPair::from_seed(&[2; 32]);
    installation.platform.append_any(&second, 1);
    let first = installation.signer().public_key().id();
    introduce(
        &mut installation.platform,
        &second,
        Some(first),
        &installation.keys[0],
    );
    let file = installation
        .export(&installation.platform.clone(), 1)
        .into_bytes();
    let found = Found::from([(3, "key_not_introduced".to_owned())]);
    assert_eq!(ours(&installation, &file, &[]), found);
    assert_eq!(theirs(&installation, &file, &[]), found);
}

#[test]
fn a_line_without_end_is_one_finding() {
    let (installation, log) = example();
    let mut tampered = lines(&installation.export(&log, 1));
    let at = nth(&tampered, "event", 4);
    tampered[at] = "x".repeat(crate::export::MAX_LINE_BYTES + 10);
    let found = ours(&installation, &join(&tampered), &[]);
    assert_eq!(found, Found::from([(5, "malformed".to_owned())]));
}

proptest! {
    #[test]
    fn what_is_written_reads_back(
        keys in 1..4u8,
        payloads in prop::collection::vec(("\\PC*", prop::option::of(any::<String>())), 1..20),
        from in any::<prop::sample::Index>(),
    ) {
        let installation = Installation::new(keys);
        let mut log = Log::new(super::generate::tenant(7));
        for (text, document) in &payloads {
            let reference = document.as_ref().map(|body| {
                let document = Document::new(body.replace('\0', "")).unwrap();
                log.documents.push(document);
                log.documents.last().unwrap().reference()
            });
            let payload = serde_json::json!({"text": text, "document": reference}).to_string();
            let new = New { aggregate: "agent", aggregate_id: text, event_type: "AgentChanged", payload };
            log.append(installation.signer(), &new);
        }
        let from = from.index(payloads.len());
        let file = installation.export(&log, from as u64 + 1);
        prop_assert_eq!(ours(&installation, file.as_bytes(), &[]), Found::new());

        let (header, mut reader) = ExportReader::open(file.as_bytes()).unwrap();
        prop_assert_eq!(header.to.0, payloads.len() as u64);
        let (mut events, mut bodies) = (Vec::new(), BTreeSet::new());
        while let Some(line) = reader.next_line().unwrap() {
            match line {
                Line::Event(event) => events.push(event.into_recorded().unwrap()),
                Line::Document(document) => drop(bodies.insert(document.body)),
                Line::Key(_) | Line::Trailer(_) => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert_eq!(&events, &log.events[from..]);
        let expected = payloads[from..].iter().filter_map(|(_, body)| body.as_ref());
        prop_assert_eq!(bodies, expected.map(|body| body.replace('\0', "")).collect());
    }

    #[test]
    fn any_flipped_bit_of_a_file_is_found(byte in any::<prop::sample::Index>(), bit in 0..8u8) {
        let (installation, log) = example();
        let mut file = installation.export(&log, 1).into_bytes();
        let at = byte.index(file.len() - 1);
        file[at] ^= 1 << bit;
        prop_assert!(!ours(&installation, &file, &[]).is_empty(), "byte {} bit {}", at, bit);
    }
}

/// What may be done to a file blindly.
#[derive(Clone, Debug)]
enum Blow {
    Flip {
        byte: prop::sample::Index,
        bit: u8,
    },
    Delete(prop::sample::Index),
    Move {
        from: prop::sample::Index,
        to: prop::sample::Index,
    },
    Copy {
        from: prop::sample::Index,
        to: prop::sample::Index,
    },
}

fn blow() -> impl Strategy<Value = Blow> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        (index(), 0..8u8).prop_map(|(byte, bit)| Blow::Flip { byte, bit }),
        index().prop_map(Blow::Delete),
        (index(), index()).prop_map(|(from, to)| Blow::Move { from, to }),
        (index(), index()).prop_map(|(from, to)| Blow::Copy { from, to }),
    ]
}

impl Blow {
    fn strike(&self, file: &mut Vec<Vec<u8>>) {
        match self {
            Self::Flip { byte, bit } => {
                let line = byte.index(file.len());
                let at = byte.index(file[line].len().max(1));
                if let Some(byte) = file[line].get_mut(at) {
                    *byte ^= 1 << bit;
                }
            }
            Self::Delete(at) => drop(file.remove(at.index(file.len()))),
            Self::Move { from, to } => {
                let line = file.remove(from.index(file.len()));
                file.insert(to.index(file.len() + 1), line);
            }
            Self::Copy { from, to } => {
                let line = file[from.index(file.len())].clone();
                file.insert(to.index(file.len() + 1), line);
            }
        }
    }
}

proptest! {
    // Each case starts an interpreter.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn both_verifiers_agree_on_whatever_is_done_to_a_file(blows in prop::collection::vec(blow(), 1..4)) {
        let (installation, log) = example();
        let file = installation.export(&log, 1);
        let mut file: Vec<_> = file.lines().map(|line| line.as_bytes().to_vec()).collect();
        for blow in &blows {
            blow.strike(&mut file);
        }
        let mut file = file.join(&b'\n');
        file.push(b'\n');
        prop_assert_eq!(theirs(&installation, &file, &[]), ours(&installation, &file, &[]), "{:?}", blows);
    }
}
