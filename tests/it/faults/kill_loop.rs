//! The kill loop: two serving processes and a rebuild on one installation, under load, each killed again and again: at
//! every fail point, and from outside at any moment. Between rounds everything is checked (I1 to I7).
//!
//! A death counts only if it was ours: by SIGKILL, sent by this test or announced by the fail point in the process's last
//! words. Any other end (a panic, an error, another signal) and any panic in between is a failure of the test.
//!
//! `COUNTERFOIL_FAULT_SEED` chooses points, moments and requests again (what meets what is up to the machine);
//! `COUNTERFOIL_FAULT_KILLS` asks for more of them than 200.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use counterfoil::faults::{POINTS, last_words};
use nix::sys::signal::Signal;

use super::site::Site;
use crate::support::installation::Installation;
use crate::support::random::Random;
use crate::support::served::Served;
use crate::support::stack::shared_stack;

const KILLS: u32 = 200;
const ROUNDS: u32 = 4;
/// A process that has not come to its point by then is killed from outside: so are those that do not lead.
const LIFE: Duration = Duration::from_millis(2_500);
const OUTSIDE: &str = "from outside";

/// Deaths by what caused them.
struct Tally(Mutex<BTreeMap<&'static str, u32>>);

impl Tally {
    fn new() -> Self {
        let causes = POINTS.into_iter().chain([OUTSIDE]);
        Self(Mutex::new(causes.map(|cause| (cause, 0)).collect()))
    }

    fn count(&self, cause: &'static str) {
        *self.0.lock().unwrap().get_mut(cause).unwrap() += 1;
    }

    fn total(&self) -> u32 {
        self.0.lock().unwrap().values().sum()
    }

    /// The point that has killed least, of those that `here` says are passed here.
    fn rarest(&self, random: &mut Random, here: impl Fn(&str) -> bool) -> &'static str {
        let tally = self.0.lock().unwrap();
        let fewest = POINTS
            .iter()
            .filter(|point| here(point))
            .map(|point| tally[point])
            .min();
        let rare: Vec<&'static str> = POINTS
            .into_iter()
            .filter(|point| here(point) && Some(tally[point]) == fewest)
            .collect();
        rare[random.below(rare.len())]
    }
}

fn is_of_rebuild(point: &str) -> bool {
    point.starts_with("rebuild.")
}

/// How often a point is passed before it kills.
fn passes(point: &str, random: &mut Random) -> usize {
    1 + random.below(match point {
        "ledger.before_sign" => 60,
        "runner.after_claim" | "rebuild.before_swap" | "rebuild.after_swap" => 1,
        "rebuild.mid_fold" => 4,
        _ => 12,
    })
}

/// Serves and dies, until there were `until` deaths.
async fn serve_and_die(site: &Site, tally: &Tally, mut random: Random, until: u32) {
    while tally.total() < until {
        let point = tally.rarest(&mut random, |point| !is_of_rebuild(point));
        let crash = format!("{point}:{}", passes(point, &mut random));
        let environment = [("COUNTERFOIL_CRASH_AT", crash.as_str())];
        // A process may die before it listens: while it catches up, for example.
        let (pid, ended) = match site.installation.try_serve(&environment).await {
            Err(ended) => (ended.pid, Some(ended.status)),
            Ok(serving) => (serving.pid, live_and_die(site, serving).await),
        };
        let log = site.log();
        let at_point = log.contains(&last_words(pid, point));
        match ended {
            Some(status) => {
                assert!(
                    was_killed(status) && at_point,
                    "process {pid} was to die at {point} and ended by itself: {status}\n{}",
                    tail(&log)
                );
                tally.count(point);
            }
            None => tally.count(if at_point { point } else { OUTSIDE }),
        }
    }
}

/// Takes requests until the process dies; answers how it ended, or nothing if it lived on and was killed from outside.
async fn live_and_die(site: &Site, mut serving: Served) -> Option<ExitStatus> {
    let url = serving.url.clone();
    site.live.add(&url);
    let ended = serving.ended_within(LIFE).await;
    site.live.remove(&url);
    if ended.is_none() {
        let status = serving.kill9().await;
        assert!(
            was_killed(status),
            "it ended by itself in the last moment: {status}"
        );
    }
    ended
}

fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(Signal::SIGKILL as i32)
}

/// The end of a log.
fn tail(log: &str) -> &str {
    let from = log.len().saturating_sub(4_000);
    let whole = (from..=log.len()).find(|at| log.is_char_boundary(*at));
    whole.and_then(|from| log.get(from..)).unwrap_or_default()
}

/// Rebuilds projections and dies, until there were `until` deaths.
async fn rebuild_and_die(installation: &Installation, tally: &Tally, mut random: Random, until: u32) {
    let names: Vec<&str> = counterfoil_projections::all()
        .iter()
        .map(|one| one.name())
        .collect();
    while tally.total() < until {
        let (point, name) = (tally.rarest(&mut random, is_of_rebuild), *random.choice(&names));
        let crash = format!("{point}:{}", passes(point, &mut random));
        // One that was killed counts as under way for a while; giving it up by hand lets the next take over at once.
        installation
            .good(&["projections", "rebuild", name, "--cancel"])
            .await;
        let mut command = installation.command(&["projections", "rebuild", name]);
        command
            .env("COUNTERFOIL_CRASH_AT", crash)
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let pid = child.id().expect("it was not waited for");
        let output = child.wait_with_output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        match was_killed(output.status) && said.contains(&last_words(pid, point)) {
            true => tally.count(point),
            // The projector made the version meanwhile, or the point was not passed so often.
            false => assert!(
                output.status.success(),
                "it was to die at {point}: {}\n{said}",
                output.status
            ),
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

/// Waits until the KRI runner has ended every run, those that died with their process too.
async fn until_all_runs_ended(site: &Site) {
    for _ in 0..600 {
        let mut open = 0i64;
        for tenant in &site.tenants {
            let events = site.checker.events(tenant.world.tenant).await;
            let of = |name: &str| events.iter().filter(|event| event.event_type == name).count() as i64;
            open += of("KriRunRequested") - of("KriRunCompleted") - of("KriRunFailed");
        }
        if open == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("a KRI run was never ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_kill_at_any_point_loses_doubles_or_forks_anything() {
    let mut random = Random::seeded();
    let asked = std::env::var("COUNTERFOIL_FAULT_KILLS")
        .ok()
        .and_then(|text| text.parse().ok());
    let (kills, tally) = (asked.unwrap_or(KILLS), Tally::new());
    let mut site = Site::new(shared_stack().endpoints()).await;
    for round in 1..=ROUNDS {
        let until = kills * round / ROUNDS;
        let load = site.load(&mut random);
        tokio::join!(
            serve_and_die(&site, &tally, random.fork(), until),
            serve_and_die(&site, &tally, random.fork(), until),
            rebuild_and_die(&site.installation, &tally, random.fork(), until),
        );
        let calm = site.serve().await;
        load.finish(&mut site.told).await;
        if round == ROUNDS {
            until_all_runs_ended(&site).await;
        }
        site.check().await;
        site.note_heads().await;
        let (told, deaths) = (site.told.len(), tally.0.lock().unwrap().clone());
        println!("{} kills, {told} requests: {deaths:?}", tally.total());
        site.live.remove(&calm.url);
        calm.stop().await;
        let log = site.log();
        let panic = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(panic, None, "nothing panics:\n{}", tail(&log));
    }
    let deaths = tally.0.into_inner().unwrap();
    let rare: Vec<_> = deaths.iter().filter(|(_, deaths)| **deaths == 0).collect();
    assert!(rare.is_empty(), "nobody died here: {rare:?}");
}
