//! Putting load on something, and what is learnt from it.

use std::time::{Duration, Instant};

use futures::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::cpu::Stopwatch;

/// How long each unit of work took.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Sample {
    /// From the start until the last worker had ended.
    pub elapsed_s: f64,
    /// Processor time of everything in this run, for each unit.
    pub cpu_micros: f64,
    /// Microseconds, in no order until [`Sample::percentile`] sorts them.
    pub micros: Vec<u32>,
}

impl Sample {
    /// Units a second.
    pub fn rate(&self) -> f64 {
        self.micros.len() as f64 / self.elapsed_s
    }

    /// Such as `percentile(99.0)`, in milliseconds.
    pub fn percentile(&mut self, percent: f64) -> f64 {
        self.micros.sort_unstable();
        let last = self.micros.len().saturating_sub(1);
        let at = (last as f64 * percent / 100.0).round() as usize;
        f64::from(self.micros.get(at).copied().unwrap_or(0)) / 1000.0
    }

    /// Such as `p50 2.1, p99 6.3 ms`.
    pub fn latency(&mut self) -> String {
        let (p50, p99) = (self.percentile(50.0), self.percentile(99.0));
        format!("p50 {p50:.2}, p99 {p99:.2} ms")
    }
}

/// Takes the time of single units, until its time is over.
pub struct Meter {
    until: Instant,
    micros: Vec<u32>,
}

impl Meter {
    /// For `length` from now.
    pub fn new(length: Duration) -> Self {
        Self {
            until: Instant::now() + length,
            micros: Vec::with_capacity(4096),
        }
    }

    /// Whether there is time left.
    pub fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Does one unit and takes its time.
    pub async fn time<T>(&mut self, unit: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let began = Instant::now();
        let done = unit.await?;
        self.took(began.elapsed());
        Ok(done)
    }

    /// What was measured, without a duration.
    pub fn sample(self) -> Sample {
        Sample {
            elapsed_s: 0.0,
            cpu_micros: 0.0,
            micros: self.micros,
        }
    }

    /// Takes a time that was measured elsewhere.
    pub fn took(&mut self, time: Duration) {
        self.micros
            .push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }
}

/// `tasks` at once, each with a meter of its own, for `length`.
pub async fn crowd<F, Fut>(tasks: usize, length: Duration, work: F) -> anyhow::Result<Sample>
where
    F: Fn(usize, Meter) -> Fut,
    Fut: Future<Output = anyhow::Result<Meter>> + Send + 'static,
{
    let began = Instant::now();
    let used = Stopwatch::start();
    let working = (0..tasks).map(|task| tokio::spawn(work(task, Meter::new(length))));
    let mut sample = Sample::default();
    for done in try_join_all(working).await? {
        sample.micros.extend(done?.micros);
    }
    sample.elapsed_s = began.elapsed().as_secs_f64();
    sample.cpu_micros = used.micros_each(sample.micros.len());
    Ok(sample)
}
