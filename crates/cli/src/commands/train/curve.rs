//! Curves in a terminal, of braille: two columns and four rows of dots in each character.

/// Points of a curve in a terminal, and of another one drawn over it.
pub struct Plot<'p> {
    /// Steps and values of the first.
    pub first: &'p [(f64, f64)],
    /// Of the second.
    pub second: &'p [(f64, f64)],
    /// The last step there may be.
    pub last_step: f64,
}

/// Width of the labels on the left, a blank included.
const LABELS: usize = 8;

/// The dots of a character, by column and row.
const DOTS: [[u8; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

#[derive(Clone, Copy, Default)]
struct Cell {
    dots: u8,
    is_second: bool,
}

impl Plot<'_> {
    /// The plot in `height` lines of `width` columns; the second curve between `colours[1]` and the end of colours.
    pub fn lines(&self, width: usize, height: usize, colours: Option<[&str; 2]>) -> Vec<String> {
        let (columns, rows) = (width.saturating_sub(LABELS).max(1), height.max(1));
        let Some((low, high)) = self.range() else { return vec![String::new(); rows] };
        let mut cells = vec![vec![Cell::default(); columns]; rows];
        for (points, is_second) in [(self.first, false), (self.second, true)] {
            self.draw(points, is_second, [low, high], &mut cells);
        }
        let mut lines = Vec::with_capacity(rows);
        for (i, row) in cells.iter().enumerate() {
            let value = high - (high - low) * i as f64 / (rows - 1).max(1) as f64;
            let has_label = i % 4 == 0 || i == rows - 1;
            let label = if has_label { format!("{value:>7.3} ") } else { " ".repeat(LABELS) };
            lines.push(label + &shown(row, colours));
        }
        lines
    }

    /// The lowest and the highest value shown. What a run begins with, high above all else, is cut off once there
    /// is more.
    fn range(&self) -> Option<(f64, f64)> {
        let skipped = self.first.len() / 20;
        let shown = self.first.iter().skip(skipped).chain(self.second).map(|p| p.1).filter(|y| y.is_finite());
        let range =
            shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
        // The first validation is before the first step.
        let high = self.first.get(skipped).map_or(range.1, |first| range.1.min(first.1.max(range.0) * 1.05));
        let high = if high.is_finite() && high > range.0 { high } else { range.1 };
        (range.0 <= range.1).then(|| (range.0, high.max(range.0 + 1e-6)))
    }

    fn draw(&self, points: &[(f64, f64)], is_second: bool, [low, high]: [f64; 2], cells: &mut [Vec<Cell>]) {
        let (columns, rows) = (2 * cells[0].len(), 4 * cells.len());
        let column = |step: f64| (step / self.last_step.max(1.0) * (columns - 1) as f64).round();
        let row = |y: f64| ((high - y) / (high - low) * (rows - 1) as f64).round();
        let mut dot = |x: f64, y: f64| {
            let (x, y) = (x as usize, y as usize);
            if x < columns && y < rows {
                let cell = &mut cells[y / 4][x / 2];
                cell.dots |= DOTS[x % 2][y % 4];
                cell.is_second |= is_second;
            }
        };
        let mut before: Option<(f64, f64)> = None;
        for (step, y) in points.iter().filter(|(_, y)| y.is_finite() && *y <= high) {
            let (x, y) = (column(*step), row(*y));
            let (from_x, from_y) = before.unwrap_or((x, y));
            let n = (x - from_x).abs().max((y - from_y).abs()).max(1.0);
            for i in 0..=n as usize {
                let t = i as f64 / n;
                dot((from_x + t * (x - from_x)).round(), (from_y + t * (y - from_y)).round());
            }
            before = Some((x, y));
        }
    }
}

fn shown(row: &[Cell], colours: Option<[&str; 2]>) -> String {
    let mut out = String::new();
    let mut current = None;
    for cell in row {
        if let Some(colours) = colours
            && cell.dots != 0
            && current != Some(cell.is_second)
        {
            out += colours[usize::from(cell.is_second)];
            current = Some(cell.is_second);
        }
        out.push(match cell.dots {
            0 => ' ',
            dots => char::from_u32(0x2800 + u32::from(dots)).unwrap_or(' '),
        });
    }
    if current.is_some() {
        out += "\x1b[0m";
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_go_where_their_values_are() {
        let first: Vec<(f64, f64)> = (1..=40).map(|i| (f64::from(i), 8.0 - f64::from(i) / 10.0)).collect();
        let plot = Plot { first: &first, second: &[(40.0, 4.0)], last_step: 80.0 };
        let lines = plot.lines(48, 8, None);
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().all(|line| line.chars().count() == 48));
        // It begins at the top left, and half of the steps are still to come.
        let dotted = |line: &str, from: usize| line.chars().skip(from).any(|c| !c.is_ascii());
        assert!(dotted(&lines[0], LABELS) && !dotted(&lines[0], LABELS + 12));
        assert!(lines.iter().all(|line| !dotted(line, LABELS + 21)));
        assert!(lines[7].trim_start().starts_with("4.000"), "{lines:?}");
        assert_eq!(Plot { first: &[], second: &[], last_step: 5.0 }.lines(40, 3, None), ["", "", ""]);
        let nan = [(1.0, f64::NAN), (2.0, 3.0)];
        Plot { first: &nan, second: &[], last_step: 2.0 }.lines(10, 1, None);
    }
}
