//! Threads that evaluate: a fixed number, a bounded queue, and a hard limit on every job.
//!
//! Evaluation is work, not waiting, so it has threads of its own, with deep stacks. A job is taken from the queue
//! by a free thread; a panic ends the job and gives the thread a fresh worker. The engine stops itself at its time
//! limit between two expressions, but a single comparison of cleverly shared values can take for ever, and a
//! thread cannot be killed. Then whoever waits gives the thread up: another takes its seat, so one hostile policy
//! does not stop everyone's decisions, and the thread ends when its job does. How many may be given up at a time
//! is bounded; beyond that the seat stays taken, and in the end askers are told that the pool is busy.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Most threads that may be busy with jobs nobody waits for any more. Each burns a core until its job ends.
const GIVEN_UP_MAX: usize = 4;

/// What a thread does with jobs; keeps what it learns from one to the next.
pub(super) type Worker<J, A> = Box<dyn FnMut(J) -> A>;
type MakeWorker<J, A> = Box<dyn Fn() -> Worker<J, A> + Send + Sync>;

/// The size and patience of a pool.
#[derive(Clone, Copy, Debug)]
pub(super) struct PoolLimits {
    /// Begins the threads' names.
    pub(super) name: &'static str,
    pub(super) threads: usize,
    pub(super) queue_len: usize,
    /// How long a job may wait for a thread.
    pub(super) queue_wait: Duration,
    /// How long a job may run before its thread is given up.
    pub(super) run_limit: Duration,
    pub(super) stack_bytes: usize,
}

/// Why a job has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PoolError {
    /// The queue is full, or no thread came free in time. The job did not run.
    Busy,
    /// The job ran into the hard limit.
    Endless,
    /// The job panicked.
    Panicked,
    /// The pool is being dropped.
    Closed,
}

/// The pool; dropping it ends and joins its threads.
pub(super) struct Pool<J, A> {
    shared: Arc<Shared<J, A>>,
}

struct Shared<J, A> {
    state: Mutex<State<J, A>>,
    changed: Condvar,
    make_worker: MakeWorker<J, A>,
    limits: PoolLimits,
}

struct State<J, A> {
    queue: VecDeque<Task<J, A>>,
    seats: BTreeMap<u64, Seat>,
    next_id: u64,
    given_up: usize,
    closed: bool,
}

struct Task<J, A> {
    id: u64,
    job: J,
    reply: oneshot::Sender<Result<A, PoolError>>,
}

struct Seat {
    running: Option<(u64, Instant)>,
    thread: JoinHandle<()>,
    vacated: bool,
}

/// Where a job stands when its asker's patience ends.
enum Progress {
    Queued,
    Running { left: Duration },
    Overdue,
    Answered,
}

impl<J: Send + 'static, A: Send + 'static> Pool<J, A> {
    /// Starts the threads.
    pub(super) fn start(
        limits: PoolLimits,
        make_worker: impl Fn() -> Worker<J, A> + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let state = State {
            queue: VecDeque::new(),
            seats: BTreeMap::new(),
            next_id: 0,
            given_up: 0,
            closed: false,
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            make_worker: Box::new(make_worker),
            limits,
        });
        let pool = Self { shared };
        for _ in 0..limits.threads {
            pool.seat_thread(&mut pool.shared.lock())?;
        }
        Ok(pool)
    }

    /// Has a job done.
    pub(super) async fn ask(&self, job: J) -> Result<A, PoolError> {
        let (id, mut reply) = self.enqueue(job)?;
        let mut patience = self.shared.limits.queue_wait;
        loop {
            match tokio::time::timeout(patience, &mut reply).await {
                Ok(answer) => return answer.unwrap_or(Err(PoolError::Closed)),
                Err(_) => match self.look_after(id) {
                    Progress::Queued => return Err(PoolError::Busy),
                    Progress::Overdue => return Err(PoolError::Endless),
                    Progress::Running { left } => patience = left,
                    // It is being handed over; `reply` resolves at once.
                    Progress::Answered => patience = self.shared.limits.queue_wait,
                },
            }
        }
    }

    fn enqueue(&self, job: J) -> Result<(u64, oneshot::Receiver<Result<A, PoolError>>), PoolError> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(PoolError::Closed);
        }
        if state.queue.len() >= self.shared.limits.queue_len {
            self.relieve(&mut state);
            return Err(PoolError::Busy);
        }
        let id = state.next_id();
        let (reply, answer) = oneshot::channel();
        state.queue.push_back(Task { id, job, reply });
        self.shared.changed.notify_one();
        Ok((id, answer))
    }

    fn look_after(&self, id: u64) -> Progress {
        let mut state = self.shared.lock();
        if let Some(at) = state.queue.iter().position(|task| task.id == id) {
            state.queue.remove(at);
            self.relieve(&mut state);
            return Progress::Queued;
        }
        let started = state
            .seats
            .values()
            .find_map(|seat| seat.running.filter(|(task, _)| *task == id));
        let Some((_, started)) = started else {
            return Progress::Answered;
        };
        match self.shared.limits.run_limit.checked_sub(started.elapsed()) {
            Some(left) if !left.is_zero() => Progress::Running { left },
            _ => {
                self.relieve(&mut state);
                Progress::Overdue
            }
        }
    }

    /// Gives up the threads whose jobs are over the hard limit, and seats others.
    fn relieve(&self, state: &mut State<J, A>) {
        let overdue = |seat: &Seat| {
            seat.running
                .is_some_and(|(_, started)| started.elapsed() >= self.shared.limits.run_limit)
        };
        let seats: Vec<u64> = state
            .seats
            .iter()
            .filter(|(_, s)| overdue(s))
            .map(|(id, _)| *id)
            .collect();
        for seat in seats {
            if state.given_up >= GIVEN_UP_MAX {
                return;
            }
            // The next thread first: with none there would be one seat less for good.
            if let Err(error) = self.seat_thread(state) {
                tracing::error!(%error, "no thread could be started in place of one that is stuck in a policy");
                return;
            }
            state.seats.remove(&seat);
            state.given_up += 1;
            tracing::error!(
                pool = self.shared.limits.name,
                given_up = state.given_up,
                at_most = GIVEN_UP_MAX,
                "a thread is stuck in the evaluation of a policy and was given up; another took its seat"
            );
        }
    }

    fn seat_thread(&self, state: &mut State<J, A>) -> std::io::Result<()> {
        let seat = state.next_id();
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new()
            .name(format!("{}-{seat}", shared.limits.name))
            .stack_size(shared.limits.stack_bytes)
            .spawn(move || shared.serve(seat))?;
        state.seats.insert(
            seat,
            Seat {
                running: None,
                thread,
                vacated: false,
            },
        );
        Ok(())
    }
}

impl<J, A> Shared<J, A> {
    fn lock(&self) -> MutexGuard<'_, State<J, A>> {
        // Nothing that runs under the lock can panic half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn serve(&self, seat: u64) {
        let mut worker = (self.make_worker)();
        while let Some(task) = self.next_task(seat) {
            let job = task.job;
            let answer = catch_unwind(AssertUnwindSafe(|| worker(job))).map_err(|_| {
                worker = (self.make_worker)();
                PoolError::Panicked
            });
            // Nobody may be waiting any more.
            let _ = task.reply.send(answer);
        }
    }

    /// Waits for a task. Nothing: the thread was given up, or the pool closes.
    fn next_task(&self, seat: u64) -> Option<Task<J, A>> {
        let mut state = self.lock();
        match state.seats.get_mut(&seat) {
            Some(own) => own.running = None,
            None => {
                state.given_up -= 1;
                return None;
            }
        }
        loop {
            if state.closed {
                if let Some(own) = state.seats.get_mut(&seat) {
                    own.vacated = true;
                }
                self.changed.notify_all();
                return None;
            }
            if let Some(task) = state.queue.pop_front() {
                // Whoever asked may have gone while it waited.
                if task.reply.is_closed() {
                    continue;
                }
                if let Some(own) = state.seats.get_mut(&seat) {
                    own.running = Some((task.id, Instant::now()));
                }
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<J, A> State<J, A> {
    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

impl<J, A> Drop for Pool<J, A> {
    /// Ends the threads and joins those that end within the hard limit; one stuck beyond it cannot be joined.
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        state.queue.clear();
        self.shared.changed.notify_all();
        let working = |state: &mut State<J, A>| state.seats.values().any(|seat| !seat.vacated);
        let (mut state, _) = self
            .shared
            .changed
            .wait_timeout_while(state, self.shared.limits.run_limit, working)
            .unwrap_or_else(PoisonError::into_inner);
        let seats = std::mem::take(&mut state.seats);
        drop(state);
        for seat in seats.into_values().filter(|seat| seat.vacated) {
            // Its panics were caught; there is nothing to hear from it.
            let _ = seat.thread.join();
        }
    }
}
