//! Helpers with a body: `{{#let}}` and `{{#indented}}`.

use std::io;

use handlebars::{
    BlockParamHolder, Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason,
    Renderable as _,
};

use super::lines;
use super::reader::Reader;
use crate::budget;

/// Their names.
pub(crate) const ALL: &[&str] = &["let", INDENTED];

pub(crate) const INDENTED: &str = "indented";

/// `{{#let port=(key "a") host="h"}}{{host}}:{{port}}{{/let}}`: names for values, within the block.
pub(crate) struct Let;

impl HelperDef for Let {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let before = render.block().cloned().unwrap_or_default();
        for (name, given) in helper.hash() {
            if given.is_value_missing() {
                let reason = format!("`let`: {name}= is a variable that is not there");
                return Err(RenderErrorReason::Other(reason).into());
            }
            if let Some(block) = render.block_mut() {
                block.set_block_param(name, BlockParamHolder::value(given.value().clone()));
            }
        }
        let done = match helper.template() {
            Some(body) => body.render(registry, context, render, out),
            None => Ok(()),
        };
        render.pop_block();
        render.push_block(before);
        done
    }
}

/// `{{#indented 4}}..{{/indented}}`: the block with spaces before each line that is not empty.
pub(crate) struct Indented<'a>(pub(crate) Option<&'a Reader<'a>>);

impl HelperDef for Indented<'_> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let failed = |reason: String| RenderErrorReason::Other(format!("`{INDENTED}`: {reason}"));
        let width = helper.param(0).and_then(|given| super::whole(given.value()));
        let width = width.ok_or_else(|| failed("argument 1 has to be a whole number".into()))?;
        let margin = lines::margin(width).map_err(failed)?;
        let mut inner = Kept {
            text: String::new(),
            reader: self.0,
        };
        let keep = |on| self.0.map(|reader| reader.trace(|tracer| tracer.keep(on)));
        keep(true);
        let rendered = helper
            .template()
            .map_or(Ok(()), |body| body.render(registry, context, render, &mut inner));
        keep(false);
        rendered?;
        out.write(&lines::every(&inner.text, &margin).map_err(failed)?)?;
        Ok(())
    }
}

/// A body that is kept before it is written; it counts as made by a helper.
struct Kept<'a> {
    text: String,
    reader: Option<&'a Reader<'a>>,
}

impl Output for Kept<'_> {
    fn write(&mut self, part: &str) -> io::Result<()> {
        budget::fits(self.text.len() + part.len()).map_err(io::Error::other)?;
        if let Some(reader) = self.reader {
            reader.made(part.len() as u64).map_err(io::Error::other)?;
        }
        self.text.push_str(part);
        Ok(())
    }
}
