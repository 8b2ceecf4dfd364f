//! Who belongs to whom: the cheapest pairing of rows and columns.

/// Pairs rows with columns so that the sum of costs is least, where each row (column, if those are
/// fewer) left alone costs `unpaired`. `cost(row, column)` is `None` for a forbidden pair; a pair that
/// costs more than `unpaired` is not made. Returns the column of each row.
///
/// Cost: O(n^2 m) for n the smaller side. The Hungarian method with potentials, after Kuhn, "The
/// Hungarian Method for the Assignment Problem", 1955, in the shortest augmenting path form of
/// Jonker and Volgenant, 1987.
#[must_use]
pub fn assign(
    rows: usize,
    columns: usize,
    unpaired: f32,
    cost: impl Fn(usize, usize) -> Option<f32>,
) -> Vec<Option<usize>> {
    if rows > columns {
        let by_column = assign_wide(columns, rows, unpaired, &|column, row| cost(row, column));
        let mut by_row = vec![None; rows];
        for (column, row) in by_column.into_iter().enumerate() {
            if let Some(row) = row {
                by_row[row] = Some(column);
            }
        }
        return by_row;
    }
    assign_wide(rows, columns, unpaired, &cost)
}

/// The column of each row, for `rows <= columns`.
fn assign_wide(
    rows: usize,
    columns: usize,
    unpaired: f32,
    cost: &dyn Fn(usize, usize) -> Option<f32>,
) -> Vec<Option<usize>> {
    let cost = |row: usize, column: usize| cost(row, column).filter(|cost| *cost <= unpaired);
    let price = |row: usize, column: usize| f64::from(cost(row, column).unwrap_or(unpaired));
    let owners = augment_all(rows, columns, price);
    let mut by_row = vec![None; rows];
    for (column, owner) in owners.into_iter().enumerate() {
        if let Some(row) = owner
            && cost(row, column).is_some()
        {
            by_row[row] = Some(column);
        }
    }
    by_row
}

/// The row that owns each column, for `rows <= columns`.
fn augment_all(
    rows: usize,
    columns: usize,
    price: impl Fn(usize, usize) -> f64,
) -> Vec<Option<usize>> {
    let mut row_potential = vec![0.0; rows];
    let mut column_potential = vec![0.0; columns];
    let mut owners: Vec<Option<usize>> = vec![None; columns];
    for start in 0..rows {
        let mut slack = vec![f64::INFINITY; columns];
        let mut from: Vec<Option<usize>> = vec![None; columns];
        let mut done = vec![false; columns];
        let mut row = start;
        let mut column_of_row = None;
        let end = loop {
            let mut nearest = None;
            let mut least = f64::INFINITY;
            for column in (0..columns).filter(|c| !done[*c]) {
                let reduced = price(row, column) - row_potential[row] - column_potential[column];
                if reduced < slack[column] {
                    slack[column] = reduced;
                    from[column] = column_of_row;
                }
                if slack[column] < least {
                    least = slack[column];
                    nearest = Some(column);
                }
            }
            let nearest = nearest.expect("a row has a free column while rows <= columns");
            row_potential[start] += least;
            for column in 0..columns {
                if done[column] {
                    if let Some(owner) = owners[column] {
                        row_potential[owner] += least;
                    }
                    column_potential[column] -= least;
                } else {
                    slack[column] -= least;
                }
            }
            done[nearest] = true;
            column_of_row = Some(nearest);
            match owners[nearest] {
                Some(owner) => row = owner,
                None => break nearest,
            }
        };
        let mut column = end;
        while let Some(before) = from[column] {
            owners[column] = owners[before];
            column = before;
        }
        owners[column] = Some(start);
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Costs = Vec<Vec<Option<f32>>>;

    const UNPAIRED: f32 = 0.7;

    /// What the best pairing saves, by trying all.
    fn brute_force(costs: &Costs, row: usize, used: u32) -> f32 {
        let Some(line) = costs.get(row) else {
            return 0.0;
        };
        let mut best = brute_force(costs, row + 1, used);
        for (column, cost) in line.iter().enumerate() {
            if let Some(cost) = cost
                && used & (1 << column) == 0
            {
                let rest = brute_force(costs, row + 1, used | (1 << column));
                best = best.max(rest + UNPAIRED - cost);
            }
        }
        best
    }

    fn check(costs: &Costs, columns: usize) -> Result<(), TestCaseError> {
        let pairs = assign(costs.len(), columns, UNPAIRED, |r, c| costs[r][c]);
        let mut used = vec![false; columns];
        let mut saved = 0.0;
        for (row, column) in pairs.iter().enumerate() {
            if let Some(column) = column {
                prop_assert!(!used[*column], "column {column} twice");
                used[*column] = true;
                saved += UNPAIRED - costs[row][*column].unwrap();
            }
        }
        let best = brute_force(costs, 0, 0);
        prop_assert!((saved - best).abs() < 1e-3, "{saved} instead of {best}");
        Ok(())
    }

    proptest! {
        #[test]
        fn no_pairing_is_better(
            columns in 0usize..6,
            cells in prop::collection::vec(prop::collection::vec(prop::option::weighted(0.7, 0f32..1.0), 6), 0..6),
        ) {
            let costs: Costs = cells.into_iter().map(|line| line[..columns].to_vec()).collect();
            check(&costs, columns)?;
        }
    }

    #[test]
    fn nobody_to_pair_is_no_pair() {
        assert_eq!(
            assign(0, 3, 1.0, |_, _| Some(0.0)),
            Vec::<Option<usize>>::new()
        );
        assert_eq!(assign(2, 0, 1.0, |_, _| Some(0.0)), vec![None, None]);
        assert_eq!(assign(2, 2, 1.0, |_, _| None), vec![None, None]);
    }
}
