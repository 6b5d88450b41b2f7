//! 2:4 masks and rewound lottery tickets
