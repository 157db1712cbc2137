//! A health check's command in a container; what a container wrote.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::{LogsOptions, LogsOptionsBuilder};
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::super::kept::{Kept, OUTPUTS};
use super::super::tail::tail;
use super::super::{Answer, TaskId};
use super::{Containers, Inner};

/// How much of the end of what a command wrote is of interest.
const OUTPUT: usize = 4096;

/// How much of what a container wrote is kept when it goes.
const LINES: usize = 2000;

/// How many pieces wait for a slow reader.
const AHEAD: usize = 4;

impl Containers {
    /// See [`super::super::Driver::run_check`]. A command that takes too long goes on: the Engine ends none.
    pub(in super::super) async fn run_check(&self, id: &str, line: &str, limit: Duration) -> anyhow::Result<Answer> {
        let run = self.inner.run(id, line);
        let answer = tokio::time::timeout(limit, run).await;
        answer.with_context(|| format!("it took longer than {} ms", limit.as_millis()))?
    }

    pub(in super::super) async fn logs(
        &self,
        task: &TaskId,
        id: &str,
        lines: usize,
        follow: bool,
    ) -> anyhow::Result<mpsc::Receiver<Bytes>> {
        if let Some(kept) = of_kept(&self.inner.kept, task, lines).await? {
            return Ok(kept);
        }
        let engine = self.inner.engine()?;
        if let Err(error) = engine.inspect_container(id, None).await {
            // It may have gone just now.
            return of_kept(&self.inner.kept, task, lines).await?.ok_or(error.into());
        }
        let (sender, receiver) = mpsc::channel(AHEAD);
        let (options, id) = (options(lines, follow), id.to_owned());
        let (kept, task) = (self.inner.kept.clone(), task.clone());
        tokio::spawn(async move {
            let mut output = std::pin::pin!(engine.logs(&id, Some(options)));
            let mut is_silent = true;
            while let Some(Ok(piece)) = output.next().await {
                is_silent = false;
                if sender.send(piece.into_bytes()).await.is_err() {
                    return;
                }
            }
            // The container may have gone while it was asked, and what it wrote is kept since then.
            if !is_silent {
                return;
            }
            let Ok(Some(mut end)) = of_kept(&kept, &task, lines).await else {
                return;
            };
            while let Some(piece) = end.recv().await {
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        Ok(receiver)
    }
}

impl Inner {
    async fn run(&self, id: &str, line: &str) -> anyhow::Result<Answer> {
        let engine = self.engine()?;
        let options = CreateExecOptions {
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(vec!["/bin/sh", "-c", line]),
            ..CreateExecOptions::default()
        };
        let exec = engine.create_exec(id, options).await?.id;
        let mut said = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = engine.start_exec(&exec, None).await? {
            while let Some(piece) = output.next().await {
                said.extend_from_slice(&piece?.into_bytes());
                let surplus = said.len().saturating_sub(OUTPUT);
                said.drain(..surplus);
            }
        }
        let code = engine.inspect_exec(&exec).await?.exit_code;
        let code = code.and_then(|code| i32::try_from(code).ok());
        Ok(Answer {
            code: code.context("the Engine does not say how it ended")?,
            output: String::from_utf8_lossy(&said).into_owned(),
        })
    }

    /// Puts the end of what a container wrote where it outlives the container.
    pub(super) async fn keep_logs(&self, engine: &Docker, task: &TaskId, id: &str) -> anyhow::Result<()> {
        let mut output = std::pin::pin!(engine.logs(id, Some(options(LINES, false))));
        let folder = self.settings.folder.join(format!("{}.output", task.0));
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(piece) = output.next().await {
            match piece? {
                LogOutput::StdErr { message } => stderr.extend_from_slice(&message),
                other => stdout.extend_from_slice(&other.into_bytes()),
            }
        }
        let (kept, task) = (self.kept.clone(), task.clone());
        tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            let mut texts = OUTPUTS.into_iter().zip([stdout, stderr]);
            let written = texts.try_for_each(|(name, text)| File::create(folder.join(name))?.write_all(&text));
            let kept = written.and_then(|()| kept.keep(&task, &folder));
            fs::remove_dir_all(&folder)?;
            kept
        })
        .await??;
        Ok(())
    }
}

/// The end of what a task wrote that has ended, if it is kept.
async fn of_kept(kept: &Kept, task: &TaskId, lines: usize) -> anyhow::Result<Option<mpsc::Receiver<Bytes>>> {
    let Some(folder) = kept.of(task) else {
        return Ok(None);
    };
    let none: Option<std::future::Ready<()>> = None;
    Ok(Some(
        tail(OUTPUTS.map(|name| folder.join(name)).into(), lines, none).await?,
    ))
}

fn options(lines: usize, follow: bool) -> LogsOptions {
    LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(follow)
        .tail(&lines.to_string())
        .build()
}
