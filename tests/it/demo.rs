//! `counterfoil up --demo`, the first thing that a newcomer sees: its story, and what a second start makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::up::{place, program};

/// Starts the demo and reads what it prints, up to and with the line that begins with `last`.
fn tell(data: &Path, last: &str) -> (Child, String) {
    let mut command = program(data);
    command
        .args(["up", "--demo", "--port", "0"])
        .stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
    let mut story = String::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        story.push_str(&line);
        story.push('\n');
        if line.starts_with(last) {
            return (child, story);
        }
    }
    panic!("the demo ended early ({}): {story}", child.wait().unwrap());
}

fn interrupt(mut child: Child) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
}

fn holds(story: &str, parts: &[&str]) {
    for part in parts {
        assert!(story.contains(part), "{part:?} is not in it:\n{story}");
    }
}

#[test]
fn the_demo_tells_what_was_allowed_denied_measured_and_verified_and_a_second_start_shows_it_again() {
    let (_dir, data) = place();
    let (child, story) = tell(&data, "Try next:");
    holds(
        &story,
        &[
            "Completions: 119 asked for, 99 allowed (35 streamed), 20 denied",
            "4  topic.payroll",
            "114 KRI runs. Read models: at the head of every log",
            "Carrier rollup (Northsea Mutual, 3 tenants)",
            "failed_settlement_rate         1     1   1     0",
            "open_incident_age              1     1   0     1",
            "every byte as it was signed",
        ],
    );
    interrupt(child);
    let (child, story) = tell(&data, "Try next:");
    holds(
        &story,
        &[
            "The demo has run in this data directory",
            "Carrier rollup (Northsea Mutual, 3 tenants)",
            "every byte as it was signed",
        ],
    );
    interrupt(child);
}

#[test]
fn a_demo_that_was_cut_off_is_not_taken_for_a_whole_one() {
    let (_dir, data) = place();
    let (mut child, _) = tell(&data, "Sending the prompts");
    child.kill().unwrap();
    child.wait().unwrap();
    let (child, _) = tell(&data, "An earlier demo in this data directory was cut off");
    interrupt(child);
}
