#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/cli.h"
#include "apps/plot/index_functions.h"
#include "apps/rpe/maps.h"
#include "apps/rpe/trained.h"
#include "core/files.h"

namespace vitrine::apps {
namespace {

using ops::IrpeMethod;

constexpr int64_t kMostTokens = 4096;  // their ids are 16.8 million numbers

struct Options : CommonFlags {
  std::string method, grid, png, curve;
  double ratio = 0;
  const CLI::Option* ratio_option = nullptr;
  int64_t skip = 0;
  bool clip = false;
  TrainedRpe trained;
};

/// "14x14" as height and width.
std::pair<int64_t, int64_t> parse_grid(const std::string& text) {
  int64_t height = 0, width = 0;
  const char *begin = text.data(), *end = begin + text.size();
  const auto first = std::from_chars(begin, end, height);
  bool good = first.ec == std::errc() && first.ptr != end && *first.ptr == 'x';
  if (good) {
    const auto second = std::from_chars(first.ptr + 1, end, width);
    good = second.ec == std::errc() && second.ptr == end;
  }
  check<UsageError>(good && height > 0 && width > 0,
                    "rpe: --grid '{}': write HEIGHTxWIDTH, both at least 1, as in 14x14", text);
  return {height, width};
}

/// The encodings of a method by its name in --rpe strings, or by its long one.
std::vector<std::pair<IrpeMethod, std::string>> parse_method(const std::string& name) {
  if (name == "euc" || name == "euclidean") return {{IrpeMethod::euclidean, ""}};
  if (name == "quant" || name == "quantization") return {{IrpeMethod::quantization, ""}};
  if (name == "product") return {{IrpeMethod::product, ""}};
  if (name == "cross") return {{IrpeMethod::cross_rows, "rows"}, {IrpeMethod::cross_columns, "columns"}};
  throw UsageError(format("rpe: unknown method '{}'; write euc, quant, cross or product", name));
}

ops::IrpeFunction parse_function(const Options& options) {
  constexpr double kLargest = 1000;
  check<UsageError>(options.ratio > 0 && options.ratio <= kLargest, "rpe: --ratio {} must be above 0 and at most {}",
                    options.ratio, kLargest);
  return ops::IrpeFunction::of_ratio(options.ratio, options.clip);
}

std::vector<BucketTable> make_tables(const Options& options, const ops::IrpeFunction& g) {
  const auto [height, width] = parse_grid(options.grid);
  check<UsageError>(options.skip >= 0, "rpe: --skip {} must be at least 0", options.skip);
  // Each alone first: their product may not fit 64 bits.
  const bool fits = height <= kMostTokens && width <= kMostTokens && options.skip <= kMostTokens &&
                    height * width + options.skip <= kMostTokens;
  check<UsageError>(fits, "rpe: --grid {} and --skip {} are more than {} tokens", options.grid, options.skip,
                    kMostTokens);
  std::vector<BucketTable> tables;
  for (const auto& [method, name] : parse_method(options.method))
    tables.push_back(
        {name, g.bound(), method == IrpeMethod::product, ops::irpe_index(method, g, height, width, options.skip)});
  return tables;
}

/// "num_buckets": .., "ids": [..], a row a line: print_json would put each of the ids on a line of its own.
void print_ids(const BucketTable& table, const char* between) {
  const Tensor ids = table.index.ids();
  const int32_t* id = ids.data<int32_t>();
  std::cout << "\"num_buckets\": " << table.index.buckets << between << "\"ids\": [";
  for (int64_t i = 0; i < table.index.queries; ++i) {
    std::string line = i == 0 ? "\n[" : ",\n[";
    for (int64_t j = 0; j < table.index.keys; ++j)
      line += (j ? ", " : "") + std::to_string(id[i * table.index.keys + j]);
    std::cout << line << "]";
  }
  std::cout << "]";
}

void print_json(const Options& options, const std::vector<BucketTable>& tables) {
  const ops::RelposIndex& index = tables.front().index;
  const std::string head = format("\"height\": {}, \"width\": {}, \"skip\": {}", index.height, index.width, index.skip);
  std::cout << format("{\"method\": {}, \"ratio\": {}, \"clip\": {}, ", json_text(options.method),
                      json_number(options.ratio), options.clip);
  if (tables.size() == 1) {
    print_ids(tables[0], (", " + head + ", ").c_str());
  } else {
    std::cout << head << ",\n\"rows\": {";
    print_ids(tables[0], ", ");
    std::cout << "},\n\"cols\": {";
    print_ids(tables[1], ", ");
    std::cout << "}";
  }
  std::cout << "}" << std::endl;
}

/// Arguments and values of the index function, arguments of one value together, up to the largest that the grid gives.
std::string function_text(const ops::IrpeFunction& g, int64_t largest) {
  std::vector<std::pair<std::string, std::string>> columns;
  for (int64_t x = 0; x <= largest;) {
    int64_t last = x;
    while (last < largest && g(double(last + 1)) == g(double(x))) ++last;
    columns.emplace_back(last == x ? std::to_string(x) : format("{}-{}", x, last), std::to_string(g(double(x))));
    x = last + 1;
  }
  constexpr size_t kLine = 100;
  const char* name = g.clip ? "h(x)" : "g(x)";
  std::string arguments, values, text;
  const auto flush = [&] { text += "x    " + arguments + "\n" + name + " " + values + "\n"; };
  for (const auto& [x, value] : columns) {
    if (arguments.size() > kLine) flush(), arguments = values = "";
    const size_t width = std::max(x.size(), value.size()) + 2;
    arguments += std::string(width - x.size(), ' ') + x;
    values += std::string(width - value.size(), ' ') + value;
  }
  flush();
  return text;
}

std::string describe(const Options& options, const std::vector<BucketTable>& tables) {
  const ops::RelposIndex& index = tables.front().index;
  std::string buckets;
  for (const BucketTable& t : tables)
    buckets += format("{}{}{} of {} buckets used", buckets.empty() ? "" : ", ", t.name.empty() ? "" : t.name + " ",
                      used_buckets(t.index), t.index.buckets);
  return format("{}, ratio {}{}, grid {} x {}{}: {}", options.method, options.ratio, options.clip ? ", clip" : "",
                index.height, index.width, index.skip ? format(", {} extra", index.skip) : std::string(), buckets);
}

void print_text(const Options& options, const ops::IrpeFunction& g, const std::vector<BucketTable>& tables) {
  const ops::RelposIndex& index = tables.front().index;
  const int64_t rows = index.height - 1, columns = index.width - 1;
  int64_t largest = std::max(rows, columns);
  if (options.method.starts_with("quant")) largest = rows * rows + columns * columns;
  if (options.method.starts_with("euc")) largest = std::lround(std::hypot(double(rows), double(columns)));
  std::cout << describe(options, tables) << "\n\n" << function_text(g, largest);
  const std::pair<int64_t, int64_t> centre{index.height / 2, index.width / 2};
  for (const BucketTable& table : tables) {
    std::cout << format("\n{}seen from row {}, column {}:\n", table.name.empty() ? "" : table.name + ", ", centre.first,
                        centre.second);
    std::cout << map_text(table, centre);
  }
  if (index.skip > 0) std::cout << format("\nEvery pair with an extra token has bucket {}.\n", index.buckets - 1);
}

int report_file(const std::string& file, bool json) {
  if (json) {
    apps::print_json({{"file", file}});
  } else {
    std::cout << file << "\n";
  }
  return kDone;
}

int rpe(const Options& options) {
  options.apply();
  const bool buckets = !options.method.empty() || !options.grid.empty();
  if (!options.trained.checkpoint.empty()) {
    check<UsageError>(
        !buckets && options.ratio_option->count() == 0 && options.curve.empty(),
        "rpe: --checkpoint has its own relative positions; leave --method, --ratio, --grid and --curve out");
    return options.trained.run(options, options.png);
  }
  check<UsageError>(options.ratio_option->count() > 0 && (buckets || !options.curve.empty()),
                    "rpe: give --method, --ratio and --grid; or --ratio and --curve; or --checkpoint and --png");
  const ops::IrpeFunction g = parse_function(options);
  if (!options.curve.empty()) {
    write_file_atomically(options.curve, [&](std::ostream& out) { out << index_functions_svg(options.ratio); });
    if (!buckets) return report_file(options.curve, options.json);
  }
  parse_method(options.method);
  const std::vector<BucketTable> tables = make_tables(options, g);
  if (!options.png.empty()) data::write_png(options.png, draw_maps(describe(options, tables), tables));
  if (options.json) {
    print_json(options, tables);
  } else {
    print_text(options, g, tables);
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto options = std::make_shared<Options>();
  options->add_to(app);
  app.add_option("--method", options->method, "euc, quant, cross or product");
  options->ratio_option =
      app.add_option("--ratio", options->ratio, "alpha of the index function; beta = 2 alpha, gamma = 8 alpha");
  app.add_option("--grid", options->grid, "rows and columns of tokens, as in 14x14");
  app.add_option("--skip", options->skip, "extra tokens in front, such as a class token (default: 0)");
  app.add_flag("--clip", options->clip, "clip the distance instead of the piecewise function");
  app.add_option("--png", options->png, "also draw the maps of a few queries into this file");
  app.add_option("--curve", options->curve,
                 "draw the piecewise and the clip function of --ratio into this file, as SVG");
  options->trained.add_to(app);
  return [options] { return rpe(*options); };
}

const RegisterCommand command(
    {"rpe", "Shows the buckets of relative positions on a grid, or what a trained model made of them", setup});

}  // namespace
}  // namespace vitrine::apps
