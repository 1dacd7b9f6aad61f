#include "models/pretrained.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "core/text.h"
#include "ops/concat/concat.h"
#include "ops/interpolate/interpolate.h"

namespace vitrine::models {
namespace {

constexpr const char *kPositions = "pos_embed", *kDistToken = "dist_token";

bool is_head(const std::string& name) { return name.starts_with("head.") || name.starts_with("head_dist."); }
bool is_distillation(const std::string& name) { return name == kDistToken || name.starts_with("head_dist."); }
bool is_relative(const std::string& name) { return name.find(".attn.rpe_") != std::string::npos; }
bool is_bias_table(const std::string& name) { return name.ends_with(".relative_position_bias_table"); }
/// Follows from the configuration; some programs write it all the same.
bool is_derived(const std::string& name) {
  return name.ends_with(".relative_position_index") || name.ends_with(".attn_mask");
}
/// LayerScale under its names in the authors' program and in timm's.
bool is_deit_iii(const std::string& name) { return name.ends_with(".gamma_1") || name.ends_with(".ls1.gamma"); }

bool holds(const nn::NamedTensors& list, bool (*wanted)(const std::string&)) {
  return std::any_of(list.begin(), list.end(), [&](const auto& entry) { return wanted(entry.first); });
}

/// The side of the square grid that `rows` tokens are; 0 if they are none.
int64_t square_side(int64_t rows) {
  const auto side = int64_t(std::lround(std::sqrt(double(std::max<int64_t>(rows, 0)))));
  return side * side == rows ? side : 0;
}

std::string other_shape(const Tensor& theirs, const Tensor& own) {
  return format("is {}, the model's is {}", theirs.shape(), own.shape());
}

/// Sorts every name of both sides; what is to be copied goes to `values`, what does not fit to `problems`.
struct Sorting {
  const Classifier& model;
  const nn::NamedTensors& weights;
  Fit fit;
  PositionResize how;
  PretrainedReport report = {};
  nn::NamedTensors values = {};
  std::vector<std::string> missing = {}, unexpected = {}, mismatched = {};

  void sort() {
    std::map<std::string, Tensor> own;
    for (const auto& [name, t] : model.state_dict()) own.emplace(name, t);
    for (const auto& [name, t] : weights) {
      if (is_derived(name)) continue;
      const auto found = own.find(name);
      if (found == own.end()) {
        not_in_model(name);
      } else if (take(name, t, found->second)) {
        own.erase(found);
      }
    }
    for (const auto& [name, t] : model.state_dict())
      if (own.contains(name) && !is_derived(name)) not_in_weights(name);
  }

  void not_in_model(const std::string& name) {
    if (fit == Fit::fine_tune && is_distillation(name)) {
      report.left_out.push_back({name, "the model has no distillation token"});
    } else if (name.starts_with("pooler.")) {
      report.left_out.push_back({name, "no part of a classifier"});
    } else {
      unexpected.push_back(name);
    }
  }
  void not_in_weights(const std::string& name) {
    const bool left = std::any_of(report.left_out.begin(), report.left_out.end(),
                                  [&](const auto& note) { return note.name == name; });
    const bool allowed = is_head(name) || is_distillation(name) || (is_relative(name) && !holds(weights, is_relative));
    if (left || (fit == Fit::fine_tune && allowed)) {
      report.initial.push_back(name);
    } else if (std::find_if(mismatched.begin(), mismatched.end(),
                            [&](const auto& m) { return m.starts_with(name + " "); }) == mismatched.end()) {
      missing.push_back(name);
    }
  }
  /// Whether the model's tensor gets its value here.
  bool take(const std::string& name, const Tensor& theirs, const Tensor& own) {
    if (theirs.shape() == own.shape()) {
      values.emplace_back(name, theirs);
      report.loaded.push_back(name);
      return true;
    }
    if (name == kPositions) return take_positions(theirs, own);
    if (is_bias_table(name) && resize_table(name, theirs, own)) return true;
    if (fit == Fit::fine_tune && is_head(name)) {
      report.left_out.push_back({name, other_shape(theirs, own)});
    } else {
      mismatched.push_back(name + " " + other_shape(theirs, own));
    }
    return false;
  }
  bool take_positions(const Tensor& theirs, const Tensor& own) {
    const auto trained = model.parameters();
    const bool fixed =
        std::none_of(trained.begin(), trained.end(), [](const auto& p) { return p.first == kPositions; });
    const int64_t skip = holds(weights, [](const std::string& n) { return n == kDistToken; }) ? 2 : 1;
    const bool resizable = theirs.dim() == 3 && theirs.size(0) == 1 && theirs.size(2) == own.size(2) &&
                           square_side(theirs.size(1) - skip) > 0;
    if (fixed) {
      report.left_out.push_back({kPositions, "the model's are fixed sinusoids"});
    } else if (!resizable) {
      mismatched.push_back(std::string(kPositions) + " " + other_shape(theirs, own));
    } else {
      const nn::TokenGrid to = model.grid();
      const int64_t side = square_side(theirs.size(1) - skip);
      values.emplace_back(kPositions, resize_positions(theirs, skip, to, own, how));
      report.resized.push_back({kPositions, format("{} + {} x {} to {} + {} x {} positions", skip, side, side, to.skip,
                                                   to.height, to.width)});
      return true;
    }
    return false;
  }
  bool resize_table(const std::string& name, const Tensor& theirs, const Tensor& own) {
    if (theirs.dim() != 2 || theirs.size(1) != own.size(1)) return false;
    const int64_t from = square_side(theirs.size(0)), to = square_side(own.size(0));
    if (from % 2 == 0 || to % 2 == 0) return false;
    values.emplace_back(name, resize_bias_table(theirs, to, how));
    report.resized.push_back(
        {name, format("windows of {} x {} to {} x {}", (from + 1) / 2, (from + 1) / 2, (to + 1) / 2, (to + 1) / 2)});
    return true;
  }
};

std::string listed(const char* what, const std::vector<std::string>& names) {
  return names.empty() ? "" : format("; {} {}: {}", names.size(), what, join(names));
}

std::vector<std::string> texts(const std::vector<PretrainedReport::Note>& notes) {
  std::vector<std::string> list;
  for (const auto& note : notes) list.push_back(format("{} ({})", note.name, note.what));
  return list;
}

}  // namespace

std::string PretrainedReport::text() const {
  return format("{} tensors loaded as they are{}{}{}", loaded.size(), listed("resized", texts(resized)),
                listed("left out", texts(left_out)), listed("at their initial values", initial));
}

std::string to_string(PositionResize how) { return how == PositionResize::bicubic ? "bicubic" : "bicubic-aa"; }

PositionResize parse_position_resize(const std::string& text) {
  for (const PositionResize how : {PositionResize::bicubic, PositionResize::bicubic_aa})
    if (text == to_string(how)) return how;
  throw ValueError(format("resizing of positions '{}'; there are bicubic, bicubic-aa", text));
}

PretrainedReport load_pretrained(Classifier& model, const nn::NamedTensors& weights, Fit fit, PositionResize how) {
  for (const auto& [name, t] : weights)
    check(!is_deit_iii(name),
          "the weights are of DeiT III, which is not supported: {} scales the branches of a block (LayerScale)", name);
  Sorting sorting{.model = model, .weights = weights, .fit = fit, .how = how};
  sorting.sort();
  const std::string problems = listed("missing", sorting.missing) + listed("unexpected", sorting.unexpected) +
                               listed("of another shape", sorting.mismatched);
  check(problems.empty(), "the weights do not fit the model{}", problems);
  model.load_state_dict(sorting.values, nn::Strict::no);
  return sorting.report;
}

namespace {

/// [rows, C], an image of side x side pixels, as one of height x width.
Tensor resize_rows(const Tensor& rows, int64_t height, int64_t width, PositionResize how) {
  const int64_t side = square_side(rows.size(0)), channels = rows.size(1);
  if (side == height && side == width) return rows;
  const Tensor image = rows.reshape({1, side, side, channels}).permute({0, 3, 1, 2});
  const Tensor resized = ops::interpolate(image, height, width, ops::Interpolation::bicubic,
                                          /*antialias=*/how == PositionResize::bicubic_aa);
  return resized.permute({0, 2, 3, 1}).reshape({height * width, channels});
}

}  // namespace

Tensor resize_positions(const Tensor& positions, int64_t from_skip, const nn::TokenGrid& to, const Tensor& own,
                        PositionResize how) {
  const NoGrad no_grad;
  const int64_t side = square_side(positions.size(1) - from_skip);
  check(side > 0, "resize_positions: {} rows behind {} extra tokens are no square grid", positions.size(1) - from_skip,
        from_skip);
  const Tensor x = positions.to(Device::cpu()).to(Dtype::f32);
  std::vector<Tensor> parts{x.narrow(1, 0, std::min(from_skip, to.skip))};
  if (to.skip > from_skip)
    parts.push_back(own.to(Device::cpu()).to(Dtype::f32).narrow(1, from_skip, to.skip - from_skip));
  parts.push_back(resize_rows(x.narrow(1, from_skip, side * side).squeeze(0), to.height, to.width, how).unsqueeze(0));
  return ops::concat(parts, 1);
}

Tensor resize_bias_table(const Tensor& table, int64_t side, PositionResize how) {
  const NoGrad no_grad;
  check(table.dim() == 2 && square_side(table.size(0)) > 0, "resize_bias_table: the rows of {} are no square", table);
  return resize_rows(table.to(Device::cpu()).to(Dtype::f32), side, side, how);
}

}  // namespace vitrine::models
