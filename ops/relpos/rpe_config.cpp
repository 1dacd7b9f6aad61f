#include "ops/relpos/rpe_config.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <mutex>
#include <tuple>

#include "core/memory_pool.h"

namespace vitrine::ops {
namespace {

constexpr const char* kForm = "rpe-{ratio}-{method}-{mode}-{shared}-{on}[-clip]";

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> fields(1);
  for (char c : text) {
    if (c == '-') {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  return text;
}

/// The ValueError of a field that is none of its choices.
template <class T>
T choose(const std::string& text, const char* field, const std::string& value, const char* choices,
         const std::map<std::string, T>& valid) {
  const auto found = valid.find(value);
  check<ValueError>(found != valid.end(), "rpe '{}': {} '{}' must be {}; the form is {}", text, field, value, choices,
                    kForm);
  return found->second;
}

double parse_ratio(const std::string& text, const std::string& value) {
  constexpr int64_t kLargestRatio = 1 << 13;  // what irpe_index takes
  double ratio = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ratio);
  check<ValueError>(
      error == std::errc() && end == value.data() + value.size() && ratio > 0 && ratio <= double(kLargestRatio),
      "rpe '{}': ratio '{}' must be a number above 0, at most {}; the form is {}", text, value, kLargestRatio, kForm);
  return ratio;
}

void parse_on(const std::string& text, const std::string& letters, RpeConfig& config) {
  const auto count = [&](char c) { return std::count(letters.begin(), letters.end(), c); };
  const auto q = count('q'), k = count('k'), v = count('v');
  check<ValueError>(!letters.empty() && q <= 1 && k <= 1 && v <= 1 && size_t(q + k + v) == letters.size(),
                    "rpe '{}': on '{}' must be some of the letters q, k, v, each once; the form is {}", text, letters,
                    kForm);
  config.on_q = q == 1, config.on_k = k == 1, config.on_v = v == 1;
  check<ValueError>(config.mode == RpeMode::contextual || !config.on_v,
                    "rpe '{}': there is no bias on v; write ctx, or leave out v", text);
}

std::vector<IrpeMethod> index_methods(RpeMethod method) {
  switch (method) {
    case RpeMethod::euclidean:
      return {IrpeMethod::euclidean};
    case RpeMethod::quantization:
      return {IrpeMethod::quantization};
    case RpeMethod::cross:
      return {IrpeMethod::cross_rows, IrpeMethod::cross_columns};
    case RpeMethod::product:
      break;
  }
  return {IrpeMethod::product};
}

}  // namespace

std::string to_string(const RpeConfig& config) {
  static constexpr const char* kMethods[] = {"euc", "quant", "cross", "product"};
  std::string ratio(32, ' ');
  ratio.resize(size_t(std::to_chars(ratio.data(), ratio.data() + ratio.size(), config.ratio).ptr - ratio.data()));
  if (ratio.find_first_not_of("0123456789") == ratio.npos) ratio += ".0";
  std::string on;
  if (config.on_q) on += 'q';
  if (config.on_k) on += 'k';
  if (config.on_v) on += 'v';
  if (on.empty()) return "none";
  return format("rpe-{}-{}-{}-{}-{}{}", ratio, kMethods[int(config.method)],
                config.mode == RpeMode::bias ? "bias" : "ctx", config.shared ? "1" : "0", on,
                config.clip ? "-clip" : "");
}

std::optional<RpeConfig> parse_rpe(const std::string& text) {
  if (text.empty() || text == "none") return std::nullopt;
  const std::vector<std::string> fields = split(text);
  check<ValueError>(fields[0] == "rpe" && (fields.size() == 6 || (fields.size() == 7 && fields[6] == "clip")),
                    "rpe '{}': the form is {}, or none; for example rpe-1.9-product-ctx-1-k", text, kForm);
  RpeConfig config;
  config.ratio = parse_ratio(text, fields[1]);
  config.method = choose<RpeMethod>(text, "method", lower(fields[2]), "euc, quant, cross or product",
                                    {{"euc", RpeMethod::euclidean},
                                     {"euclidean", RpeMethod::euclidean},
                                     {"quant", RpeMethod::quantization},
                                     {"quantization", RpeMethod::quantization},
                                     {"cross", RpeMethod::cross},
                                     {"product", RpeMethod::product}});
  const auto mode = choose<std::optional<RpeMode>>(text, "mode", fields[3], "bias, ctx or none",
                                                   {{"bias", RpeMode::bias},
                                                    {"ctx", RpeMode::contextual},
                                                    {"contextual", RpeMode::contextual},
                                                    {"none", std::nullopt}});
  config.mode = mode.value_or(RpeMode::contextual);
  config.shared = choose<bool>(text, "shared", fields[4], "0 or 1", {{"0", false}, {"1", true}});
  config.clip = fields.size() == 7;
  parse_on(text, fields[5], config);
  if (!mode) return std::nullopt;
  return config;
}

int64_t rpe_buckets(const RpeConfig& config, int64_t skip) {
  const int64_t side = 2 * IrpeFunction::of_ratio(config.ratio).bound() + 1;
  return (config.method == RpeMethod::product ? side * side : side) + (skip > 0);
}

const std::vector<RelposIndex>& rpe_indices(const RpeConfig& config, int64_t height, int64_t width, int64_t skip,
                                            Device device) {
  using Key = std::tuple<double, RpeMethod, bool, int64_t, int64_t, int64_t, DeviceType, int>;
  static std::mutex mutex;
  static auto& kept = *new std::map<Key, std::vector<RelposIndex>>;
  const Key key(config.ratio, config.method, config.clip, height, width, skip, device.type, int(device.index));
  const std::lock_guard lock(mutex);
  if (const auto found = kept.find(key); found != kept.end()) return found->second;
  const PoolScope outlives_the_step(nullptr);
  std::vector<RelposIndex> indices;
  const IrpeFunction g = IrpeFunction::of_ratio(config.ratio, config.clip);
  for (IrpeMethod method : index_methods(config.method))
    indices.push_back(irpe_index(method, g, height, width, skip).to(device));
  return kept.emplace(key, std::move(indices)).first->second;
}

}  // namespace vitrine::ops
