#include "apps/rpe/maps.h"

#include <algorithm>
#include <cmath>

#include "apps/canvas.h"
#include "core/error.h"

namespace vitrine::apps {
namespace {

/// Buckets that touch get hues far apart: a step of one bucket turns the hue by the golden ratio; a step of a row of
/// Product's square by another ratio far from all simple fractions (Roberts' R2 sequence). Lightness takes turns as
/// well.
Color bucket_color(const BucketTable& table, int64_t bucket) {
  constexpr double kStep = 0.6180339887, kRowStep = 0.7548776662, kColumnStep = 0.5698402910;
  constexpr double kLightness[] = {0.83, 0.70, 0.91}, kChroma[] = {0.12, 0.13, 0.08};
  const int64_t side = 2 * table.bound + 1;
  const int64_t row = table.product ? bucket / side : 0, column = table.product ? bucket % side : bucket;
  const double turns = table.product ? double(row) * kRowStep + double(column) * kColumnStep : double(bucket) * kStep;
  const size_t kind = size_t(row + column) % 3;
  return oklch(kLightness[kind], kChroma[kind], turns - std::floor(turns));
}

/// Sizes in pixels, all from that of a cell.
struct Layout {
  int64_t height, width;  ///< of the grid
  int64_t cell;
  static constexpr int64_t kMargin = 32, kGap = 28, kTitle = 52, kCaption = 30;

  Layout(int64_t h, int64_t w) : height(h), width(w) {
    constexpr int64_t kPanel = 560, kLargest = 48, kSmallest = 3;
    cell = std::clamp(kPanel / std::max(h, w), kSmallest, kLargest);
  }
  int64_t panel_width() const { return width * cell + 1; }
  int64_t panel_height() const { return height * cell + 1; }
  /// A caption may be wider than its panel.
  int64_t pitch(int64_t caption) const { return std::max(panel_width(), caption) + kGap; }
};

/// Lines between cells: thin and pale inside of a bucket, dark where it changes.
void draw_borders(Canvas& canvas, const Layout& at, const BucketTable& table, Cell query, int64_t x, int64_t y) {
  constexpr int64_t kLegible = 8;
  constexpr Color kDark = {48, 48, 56}, kPale = {255, 255, 255};
  const auto draw = [&](bool change, int64_t left, int64_t top, int64_t width, int64_t height) {
    if (change) canvas.fill(left, top, width, height, kDark);
    if (!change && at.cell >= kLegible) canvas.fill(left, top, width, height, kPale);
  };
  for (const bool change : {false, true}) {  // dark lines over pale ones where they cross
    for (int64_t r = 0; r < at.height; ++r) {
      for (int64_t c = 0; c < at.width; ++c) {
        const int64_t id = table.bucket(query, r, c), left = x + c * at.cell, top = y + r * at.cell;
        if (c > 0 && (table.bucket(query, r, c - 1) != id) == change) draw(change, left, top, 1, at.cell + 1);
        if (r > 0 && (table.bucket(query, r - 1, c) != id) == change) draw(change, left, top, at.cell + 1, 1);
      }
    }
  }
  canvas.frame(x, y, at.panel_width(), at.panel_height(), 1, kDark);
}

void draw_ids(Canvas& canvas, const Layout& at, const BucketTable& table, Cell query, int64_t x, int64_t y) {
  constexpr int64_t kRoom = 6, kLetter = 7;
  int64_t size = 2;
  const int64_t widest = text_width(std::to_string(table.index.buckets - 1), 1);
  while (size > 0 && (widest * size + kRoom > at.cell || kLetter * size + kRoom > at.cell)) --size;
  if (size == 0) return;
  for (int64_t r = 0; r < at.height; ++r) {
    for (int64_t c = 0; c < at.width; ++c) {
      const std::string id = std::to_string(table.bucket(query, r, c));
      canvas.text(x + c * at.cell + (at.cell + 1 - text_width(id, size)) / 2,
                  y + r * at.cell + (at.cell + 1 - kLetter * size) / 2, id, size, {40, 40, 48});
    }
  }
}

void draw_panel(Canvas& canvas, const Layout& at, const BucketTable& table, Cell query, int64_t x, int64_t y) {
  for (int64_t r = 0; r < at.height; ++r)
    for (int64_t c = 0; c < at.width; ++c)
      canvas.fill(x + c * at.cell, y + r * at.cell, at.cell, at.cell, bucket_color(table, table.bucket(query, r, c)));
  draw_borders(canvas, at, table, query, x, y);
  draw_ids(canvas, at, table, query, x, y);
  // Black, then white within; around the cell where it is too small to hold them.
  const int64_t line = std::clamp<int64_t>(at.cell / 8, 2, 4), outside = at.cell < 16 ? line + 1 : 0;
  const int64_t left = x + query.second * at.cell - outside, top = y + query.first * at.cell - outside;
  const int64_t size = at.cell + 1 + 2 * outside;
  canvas.frame(left, top, size, size, line, kBlack);
  canvas.frame(left + line, top + line, size - 2 * line, size - 2 * line, 1, kWhite);
}

}  // namespace

std::vector<Cell> typical_cells(int64_t height, int64_t width) {
  std::vector<Cell> cells;
  for (const Cell& c : {Cell{0, 0}, Cell{0, width / 2}, Cell{height / 2, width / 2}, Cell{height * 3 / 4, width / 4}})
    if (std::find(cells.begin(), cells.end(), c) == cells.end()) cells.push_back(c);
  return cells;
}

int64_t BucketTable::bucket(Cell query, int64_t row, int64_t column) const {
  const int64_t dr = query.first - row + index.height - 1, dc = query.second - column + index.width - 1;
  if (index.offset_ids.defined()) return index.offset_ids.data<int32_t>()[dr * (2 * index.width - 1) + dc];
  return int64_t(index.row_ids.data<int32_t>()[dr]) + index.column_ids.data<int32_t>()[dc];
}

int64_t used_buckets(const ops::RelposIndex& index) {
  const Tensor ids = index.ids();
  const int32_t* id = ids.data<int32_t>();
  std::vector<char> used(size_t(index.buckets), 0);
  for (int64_t i = 0; i < ids.numel(); ++i) used[size_t(id[i])] = 1;
  return std::count(used.begin(), used.end(), 1);
}

std::string map_text(const BucketTable& table, Cell query) {
  const size_t digits = std::to_string(table.index.buckets - 1).size();
  std::string text;
  for (int64_t r = 0; r < table.index.height; ++r) {
    std::string line;
    for (int64_t c = 0; c < table.index.width; ++c) {
      const std::string id = std::to_string(table.bucket(query, r, c));
      const bool here = query == Cell{r, c}, behind = query == Cell{r, c - 1};
      line += std::string(behind ? "]" : here ? "[" : " ") + std::string(digits - id.size(), ' ') + id;
    }
    text += line + (query == Cell{r, table.index.width - 1} ? "]\n" : "\n");
  }
  return text;
}

data::Image draw_maps(const std::string& title, const std::vector<BucketTable>& tables) {
  const int64_t height = tables.front().index.height, width = tables.front().index.width;
  const Layout at(height, width);
  const std::vector<Cell> cells = typical_cells(height, width);
  const auto caption = [](const BucketTable& table, const Cell& c) {
    return format("{}query: row {}, column {}", table.name.empty() ? "" : table.name + ", ", c.first, c.second);
  };
  constexpr int64_t kTitleSize = 3, kCaptionSize = 2;
  int64_t widest = 0;
  for (const BucketTable& table : tables)
    for (const Cell& c : cells) widest = std::max(widest, text_width(caption(table, c), kCaptionSize));
  const int64_t pitch = at.pitch(widest), row_pitch = at.kCaption + at.panel_height() + at.kGap;
  const int64_t panels = pitch * int64_t(cells.size()) - at.kGap;
  Canvas canvas(at.kMargin + at.kTitle + row_pitch * int64_t(tables.size()) - at.kGap + at.kMargin,
                std::max(panels, text_width(title, kTitleSize)) + 2 * at.kMargin);
  canvas.text(at.kMargin, at.kMargin, title, kTitleSize);
  for (size_t t = 0; t < tables.size(); ++t) {
    const int64_t y = at.kMargin + at.kTitle + row_pitch * int64_t(t);
    for (size_t i = 0; i < cells.size(); ++i) {
      const int64_t x = at.kMargin + pitch * int64_t(i);
      canvas.text(x, y, caption(tables[t], cells[i]), kCaptionSize);
      draw_panel(canvas, at, tables[t], cells[i], x, y + at.kCaption);
    }
  }
  return canvas.image();
}

}  // namespace vitrine::apps
