//! A table of plain characters, as wide as the screen.

use super::screen::{Screen, Tone};
use super::text::{labelled, wrap};
use tabled::Table as Grid;
use tabled::builder::Builder;
use tabled::settings::object::Cell as At;
use tabled::settings::style::HorizontalLine;
use tabled::settings::themes::Theme;
use tabled::settings::{Color, Modify, Style};
use unicode_width::UnicodeWidthStr;

/// A table whose columns would have less than this each, lines and spaces included, has more breaks than words.
const COLUMN_MIN_COLUMNS: usize = 12;

/// One cell; its text must already be safe to show.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    /// A cell in a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Cell {
        Cell { text: text.into(), tone: Some(tone) }
    }

    /// Columns of its widest line.
    fn width(&self) -> usize {
        self.text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Cell {
        Cell { text: text.into(), tone: None }
    }
}

/// A table under construction.
#[derive(Debug)]
pub struct Table<const COLUMNS: usize> {
    rows: Vec<[Cell; COLUMNS]>,
    /// Rows that a line is drawn above.
    ruled: Vec<usize>,
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    /// A table with these headings.
    pub fn new(headings: [&str; COLUMNS]) -> Table<COLUMNS> {
        let headings = headings.map(|heading| Cell::toned(heading, Tone::Strong));
        Table { rows: vec![headings], ruled: vec![1] }
    }

    /// Adds a row.
    pub fn row(&mut self, row: [Cell; COLUMNS]) {
        self.rows.push(row);
    }

    /// Draws a line below what was added so far.
    pub fn rule(&mut self) {
        self.ruled.push(self.rows.len());
    }

    /// The table's text, each line `indent` columns from the left, trimmed on the right and ended.
    pub fn render(&self, screen: &Screen, indent: usize) -> String {
        if screen.columns < indent + COLUMN_MIN_COLUMNS * COLUMNS {
            return self.paragraphs(screen, indent);
        }
        let widths = self.fit(screen.columns.saturating_sub(indent));
        let mut builder = Builder::with_capacity(self.rows.len(), COLUMNS);
        for row in &self.rows {
            builder
                .push_record(row.iter().zip(widths).map(|(cell, width)| wrap(&cell.text, width).join("\n")));
        }
        let mut grid: Grid = builder.build();
        let mut theme = Theme::from_style(Style::psql().remove_horizontals());
        // A line below the last row would be a frame.
        for &row in self.ruled.iter().filter(|&&row| row < self.rows.len()) {
            theme.insert_horizontal_line(row, HorizontalLine::new('-').intersection('+'));
        }
        grid.with(theme);
        if screen.color {
            for (row, cells) in self.rows.iter().enumerate() {
                for (column, cell) in cells.iter().enumerate() {
                    if let Some(tone) = cell.tone {
                        let color = Color::new(format!("\x1b[{}m", tone.sgr()), "\x1b[0m".to_owned());
                        grid.with(Modify::new(At::new(row, column)).with(color));
                    }
                }
            }
        }
        let left = " ".repeat(indent);
        grid.to_string().lines().fold(String::new(), |mut text, line| {
            text.push_str(&left);
            text.push_str(line.trim_end());
            text.push('\n');
            text
        })
    }

    /// The same for a narrow screen: a paragraph for each row, its cells one below the other under their headings.
    fn paragraphs(&self, screen: &Screen, indent: usize) -> String {
        let Some((headings, rows)) = self.rows.split_first() else { return String::new() };
        let label = headings.iter().map(Cell::width).max().unwrap_or(0) + 2;
        let rows = rows.iter().map(|row| {
            let cells = headings.iter().zip(row).filter(|(_, cell)| !cell.text.is_empty());
            cells.fold(String::new(), |mut text, (heading, cell)| {
                let content = cell.text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
                text.push_str(&labelled(&heading.text, indent, &content, indent + label, screen.columns));
                text
            })
        });
        rows.filter(|row| !row.is_empty()).collect::<Vec<_>>().join("\n")
    }

    /// Widths of the columns' text so that a row fits into `columns`: the widest column gives way first.
    fn fit(&self, columns: usize) -> [usize; COLUMNS] {
        let mut widths: [usize; COLUMNS] =
            std::array::from_fn(|at| self.rows.iter().map(|row| row[at].width()).max().unwrap_or(0));
        // A space on either side of a text, a line between two.
        let room = columns.saturating_sub(3 * COLUMNS - 1);
        let mut excess = widths.iter().sum::<usize>().saturating_sub(room);
        while excess > 0 {
            let widest = widths.iter_mut().max().filter(|widest| **widest > 1);
            let Some(widest) = widest else { break };
            *widest -= 1;
            excess -= 1;
        }
        widths
    }
}
