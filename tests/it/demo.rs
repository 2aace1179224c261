//! `counterfoil up --demo`, the first thing that a newcomer sees: its story, and what a second start makes of it.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::up::{place, program};

/// A running demo; it can go on talking as long as this lives.
struct Demo {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Demo {
    fn start(data: &Path) -> Self {
        let mut command = program(data);
        command
            .args(["up", "--demo", "--port", "0"])
            .stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::inherit()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// What it prints, up to and with the line that begins with `last`.
    fn story(&mut self, last: &str) -> String {
        let mut story = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            story.push_str(&line);
            story.push('\n');
            if line.starts_with(last) {
                return story;
            }
        }
        panic!("the demo ended early ({}): {story}", self.child.wait().unwrap());
    }

    fn interrupt(mut self) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let rest: Vec<_> = self.lines.map_while(Result::ok).collect();
        let ended = self.child.wait().unwrap();
        assert!(ended.success(), "{ended}: {rest:?}");
    }
}

fn holds(story: &str, parts: &[&str]) {
    for part in parts {
        assert!(story.contains(part), "{part:?} is not in it:\n{story}");
    }
}

#[test]
fn the_demo_tells_what_was_allowed_denied_measured_and_verified_and_a_second_start_shows_it_again() {
    let (_dir, data) = place();
    let mut demo = Demo::start(&data);
    let story = demo.story("Try next:");
    holds(
        &story,
        &[
            "Completions: 119 asked for, 99 allowed (35 streamed), 20 denied",
            "4  topic.payroll",
            "114 KRI runs. Read models: at the head of every log",
            "Carrier rollup (Northsea Mutual, 3 tenants)",
            "failed_settlement_rate         1     1   1     0",
            "open_incident_age              1     1   0     1",
            "worse unit",
            " up    share of settlements",
            " both  share of decisions",
            " up    days",
            "every byte as it was signed",
        ],
    );
    demo.interrupt();
    let mut demo = Demo::start(&data);
    let story = demo.story("Try next:");
    holds(
        &story,
        &[
            "The demo has run in this data directory",
            "Carrier rollup (Northsea Mutual, 3 tenants)",
            "every byte as it was signed",
        ],
    );
    demo.interrupt();
}

#[test]
fn a_demo_that_was_cut_off_is_not_taken_for_a_whole_one() {
    let (_dir, data) = place();
    let mut demo = Demo::start(&data);
    demo.story("Sending the prompts");
    demo.child.kill().unwrap();
    demo.child.wait().unwrap();
    let mut demo = Demo::start(&data);
    demo.story("An earlier demo in this data directory was cut off");
    demo.interrupt();
}
