//! The pool of threads on its own: queue, panics, threads that get stuck.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::pool::{Pool, PoolError, PoolLimits};

fn limits() -> PoolLimits {
    PoolLimits {
        name: "policy-test",
        threads: 1,
        queue_len: 2,
        queue_wait: Duration::from_secs(60),
        run_limit: Duration::from_secs(60),
        stack_bytes: 1024 * 1024,
    }
}

/// A job that says that it runs, and then waits until it may end.
struct Blocking {
    runs: Sender<()>,
    may_end: Receiver<()>,
}

fn blocking() -> (Blocking, Receiver<()>, Sender<()>) {
    let (runs, running) = channel();
    let (end, may_end) = channel();
    (Blocking { runs, may_end }, running, end)
}

fn blocking_pool(limits: PoolLimits) -> Arc<Pool<Option<Blocking>, &'static str>> {
    let pool = Pool::start(limits, || {
        Box::new(|job: Option<Blocking>| {
            if let Some(job) = job {
                let _ = job.runs.send(());
                let _ = job.may_end.recv();
            }
            "done"
        })
    });
    Arc::new(pool.unwrap())
}

#[tokio::test]
async fn jobs_are_answered_in_turn_and_a_full_queue_says_so_at_once() {
    let pool = blocking_pool(limits());
    let (job, running, end) = blocking();
    let ask = |job| {
        let pool = Arc::clone(&pool);
        async move { pool.ask(job).await }
    };
    let first = tokio::spawn(ask(Some(job)));
    tokio::task::spawn_blocking(move || running.recv().unwrap())
        .await
        .unwrap();
    let mut waiting = [Box::pin(ask(None)), Box::pin(ask(None))];
    for asked in &mut waiting {
        // Polled once, so that it stands in the queue.
        assert!(futures::poll!(asked).is_pending());
    }
    assert_eq!(pool.ask(None).await, Err(PoolError::Busy));
    end.send(()).unwrap();
    assert_eq!(first.await.unwrap(), Ok("done"));
    for asked in waiting {
        assert_eq!(asked.await, Ok("done"));
    }
}

#[tokio::test]
async fn a_job_that_nobody_waits_for_any_more_is_not_done() {
    let done = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&done);
    let pool = Pool::start(limits(), move || {
        let counter = Arc::clone(&counter);
        Box::new(move |job: Option<Blocking>| {
            if let Some(job) = job {
                let _ = job.runs.send(());
                let _ = job.may_end.recv();
            }
            counter.fetch_add(1, Ordering::SeqCst);
        })
    });
    let pool = Arc::new(pool.unwrap());
    let (job, running, end) = blocking();
    let first = tokio::spawn({
        let pool = Arc::clone(&pool);
        async move { pool.ask(Some(job)).await }
    });
    tokio::task::spawn_blocking(move || running.recv().unwrap())
        .await
        .unwrap();
    {
        let mut gone = Box::pin(pool.ask(None));
        assert!(futures::poll!(&mut gone).is_pending());
    }
    end.send(()).unwrap();
    first.await.unwrap().unwrap();
    pool.ask(None).await.unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_panic_ends_its_job_and_the_thread_goes_on_with_a_fresh_worker() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let pool = Pool::start(limits(), move || {
        let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
        Box::new(move |panics: bool| {
            assert!(!panics, "as asked");
            number
        })
    });
    let pool = pool.unwrap();
    assert_eq!(pool.ask(false).await, Ok(1));
    assert_eq!(pool.ask(true).await, Err(PoolError::Panicked));
    assert_eq!(pool.ask(false).await, Ok(2));
}

#[tokio::test]
async fn a_stuck_thread_is_given_up_and_another_takes_its_seat() {
    let patience = Duration::from_millis(50);
    let pool = blocking_pool(PoolLimits {
        queue_wait: patience,
        run_limit: patience,
        ..limits()
    });
    let (job, running, end) = blocking();
    assert_eq!(pool.ask(Some(job)).await, Err(PoolError::Endless));
    assert_eq!(running.try_recv(), Ok(()), "it ran, and still does");
    // A fresh thread may take longer to start than the short patience of this pool.
    let mut answer = pool.ask(None).await;
    while answer == Err(PoolError::Busy) {
        answer = pool.ask(None).await;
    }
    assert_eq!(answer, Ok("done"));
    end.send(()).unwrap();
}

#[tokio::test]
async fn only_so_many_threads_are_given_up_and_one_that_comes_back_makes_room() {
    let patience = Duration::from_millis(20);
    let pool = blocking_pool(PoolLimits {
        queue_wait: patience,
        run_limit: patience,
        ..limits()
    });
    let mut ends = Vec::new();
    // Four may be given up; the fifth keeps its seat.
    while ends.len() < 5 {
        let (job, running, end) = blocking();
        match pool.ask(Some(job)).await {
            Err(PoolError::Endless) => ends.push((running, end)),
            Err(PoolError::Busy) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        pool.ask(None).await,
        Err(PoolError::Busy),
        "nobody is left to do it"
    );
    for (_, end) in &ends {
        end.send(()).unwrap();
    }
    let mut answer = pool.ask(None).await;
    while answer == Err(PoolError::Busy) {
        answer = pool.ask(None).await;
    }
    assert_eq!(answer, Ok("done"));
}

#[tokio::test]
async fn dropping_the_pool_waits_for_the_job_at_hand_and_turns_away_the_rest() {
    let ended = Arc::new(Mutex::new(false));
    let flag = Arc::clone(&ended);
    let pool = Pool::start(limits(), move || {
        let flag = Arc::clone(&flag);
        Box::new(move |job: Blocking| {
            let _ = job.runs.send(());
            let _ = job.may_end.recv();
            *flag.lock().unwrap() = true;
        })
    });
    let pool = pool.unwrap();
    let (job, running, end) = blocking();
    let mut asked = Box::pin(pool.ask(job));
    assert!(futures::poll!(&mut asked).is_pending());
    tokio::task::spawn_blocking(move || running.recv().unwrap())
        .await
        .unwrap();
    drop(asked);
    end.send(()).unwrap();
    drop(pool);
    assert!(*ended.lock().unwrap());
}
