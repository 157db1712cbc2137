//! How the story is printed: numbered steps, the commands a person would type, what came of them.

use std::fmt::Display;

use crate::output::Out;

/// See the module.
pub(super) struct Teller<'a> {
    out: &'a mut Out,
    /// How a person calls this program: `keyway`, or its path.
    program: String,
    step: usize,
}

impl<'a> Teller<'a> {
    pub(super) fn new(out: &'a mut Out, program: String) -> Self {
        Self { out, program, step: 0 }
    }

    /// Where else to print.
    pub(super) fn out(&mut self) -> &mut Out {
        self.out
    }

    /// What it is about.
    pub(super) fn title(&mut self, text: &str) {
        self.tell(self.out.paint.bold(text));
    }

    /// The next step: what is done.
    pub(super) fn step(&mut self, text: impl Display) {
        self.step += 1;
        self.tell("");
        self.tell(format_args!(
            "{}  {}",
            self.out.paint.green(self.step),
            self.out.paint.bold(text)
        ));
    }

    /// A command of ours that a person would type; it works in another terminal as it stands.
    pub(super) fn keyway(&mut self, arguments: impl Display) {
        self.shell(format!("{} {arguments}", self.program));
    }

    /// Any other command.
    pub(super) fn shell(&mut self, command: impl Display) {
        self.tell(format_args!(
            "   {} {}",
            self.out.paint.dim("$"),
            self.out.paint.cyan(command)
        ));
    }

    /// What came of it, and what that shows.
    pub(super) fn seen(&mut self, answer: &str, note: impl Display) {
        self.tell(format_args!(
            "     {answer}   {}",
            self.out.paint.dim(format_args!("<- {note}"))
        ));
    }

    fn tell(&mut self, line: impl Display) {
        // The story is told for a person; if nobody reads it, the checks still count.
        if !self.out.is_json() {
            let _ = self.out.line(line);
        }
    }
}
