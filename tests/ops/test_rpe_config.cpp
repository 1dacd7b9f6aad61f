#include <set>

#include "core/random.h"
#include "ops/relpos/relpos_rows.h"
#include "ops/relpos/rpe_config.h"
#include "ops/relpos/used_buckets.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::ops;
using Catch::Matchers::Message;

TEST_CASE("published rpe strings are read and written back", "[unit]") {
  for (const char* text : {"rpe-1.9-product-ctx-1-k", "rpe-2.0-product-ctx-1-k", "rpe-20.0-euc-ctx-1-qk",
                           "rpe-33.0-quant-bias-0-qk", "rpe-0.5-cross-ctx-0-qkv", "rpe-1.9-product-ctx-1-v-clip"}) {
    INFO(text);
    REQUIRE(parse_rpe(text).has_value());
    CHECK(to_string(*parse_rpe(text)) == text);
  }
  CHECK_FALSE(parse_rpe("").has_value());
  CHECK_FALSE(parse_rpe("none").has_value());
  CHECK_FALSE(parse_rpe("rpe-1.9-product-none-1-k").has_value());
  CHECK(parse_rpe("rpe-1.9-Product-ctx-1-k") == RpeConfig());
  CHECK(parse_rpe("rpe-1.9-EUC-ctx-1-k") == RpeConfig{.method = RpeMethod::euclidean});
  const RpeConfig c = *parse_rpe("rpe-20-euclidean-contextual-0-vk");
  CHECK(c == RpeConfig{.ratio = 20, .method = RpeMethod::euclidean, .shared = false, .on_v = true});
  CHECK(to_string(c) == "rpe-20.0-euc-ctx-0-kv");
  CHECK(*parse_rpe("rpe-1.9-product-ctx-1-k") == RpeConfig());
  CHECK(parse_rpe("rpe-1.5-quantization-bias-1-q-clip") == RpeConfig{.ratio = 1.5,
                                                                     .method = RpeMethod::quantization,
                                                                     .mode = RpeMode::bias,
                                                                     .on_q = true,
                                                                     .on_k = false,
                                                                     .clip = true});
}

TEST_CASE("an rpe string that does not fit is one clear error", "[unit]") {
  const std::string form = "the form is rpe-{ratio}-{method}-{mode}-{shared}-{on}[-clip]";
  const auto fails = [](const std::string& text, const std::string& message) {
    CHECK_THROWS_MATCHES(parse_rpe(text), ValueError, Message("rpe '" + text + "': " + message));
  };
  const std::string whole = form + ", or none; for example rpe-1.9-product-ctx-1-k";
  for (const char* text : {"rpe", "product", "rpe-1.9-product-ctx-1", "rpe-1.9-product-ctx-1-k-clap",
                           "rpe-1.9-product-ctx-1-k-clip-clip", "irpe-1.9-product-ctx-1-k"})
    fails(text, whole);
  fails("rpe-x-product-ctx-1-k", "ratio 'x' must be a number above 0, at most 8192; " + form);
  fails("rpe-1.9x-product-ctx-1-k", "ratio '1.9x' must be a number above 0, at most 8192; " + form);
  fails("rpe-0-product-ctx-1-k", "ratio '0' must be a number above 0, at most 8192; " + form);
  fails("rpe-nan-product-ctx-1-k", "ratio 'nan' must be a number above 0, at most 8192; " + form);
  fails("rpe-1e9-product-ctx-1-k", "ratio '1e9' must be a number above 0, at most 8192; " + form);
  fails("rpe-1.9-prod-ctx-1-k", "method 'prod' must be euc, quant, cross or product; " + form);
  fails("rpe-1.9-prod-none-1-k", "method 'prod' must be euc, quant, cross or product; " + form);
  fails("rpe-1.9-product-context-1-k", "mode 'context' must be bias, ctx or none; " + form);
  fails("rpe-1.9-product-ctx-2-k", "shared '2' must be 0 or 1; " + form);
  for (const char* on : {"", "x", "kk", "qkq", "qkvx"})
    fails(std::string("rpe-1.9-product-ctx-1-") + on,
          std::string("on '") + on + "' must be some of the letters q, k, v, each once; " + form);
  fails("rpe-1.9-product-bias-1-kv", "there is no bias on v; write ctx, or leave out v");
}

TEST_CASE("buckets and indices of a config", "[unit][emulated]") {
  const auto buckets = [](const char* text, int64_t skip) { return rpe_buckets(*parse_rpe(text), skip); };
  CHECK(buckets("rpe-1.9-product-ctx-1-k", 1) == 50);
  CHECK(buckets("rpe-1.9-product-ctx-1-k", 0) == 49);
  CHECK(buckets("rpe-20-euc-ctx-1-k", 2) == 82);
  CHECK(buckets("rpe-33-quant-ctx-1-k", 1) == 134);
  CHECK(buckets("rpe-20-cross-ctx-1-k", 1) == 82);
  for (const char* text : {"rpe-1.9-product-ctx-1-k", "rpe-20-euc-ctx-1-k", "rpe-33-quant-ctx-1-k",
                           "rpe-20-cross-ctx-1-k", "rpe-1.9-product-ctx-1-k-clip"}) {
    INFO(text);
    const RpeConfig config = *parse_rpe(text);
    const auto& indices = rpe_indices(config, 3, 5, 1, Device::cpu());
    CHECK(&indices == &rpe_indices(config, 3, 5, 1, Device::cpu()));
    CHECK(&indices != &rpe_indices(config, 3, 5, 0, Device::cpu()));
    REQUIRE(int64_t(indices.size()) == config.tables());
    for (const RelposIndex& index : indices) CHECK(index.buckets == rpe_buckets(config, 1));
    CHECK(rpe_indices(config, 3, 5, 1, Device::emulated()).front().device() == Device::emulated());
  }
  const auto& cross = rpe_indices(*parse_rpe("rpe-1.9-cross-ctx-1-k"), 3, 2, 0, Device::cpu());
  CHECK(cross[0].ids().to_vector() == irpe_index(IrpeMethod::cross_rows, {}, 3, 2, 0).ids().to_vector());
  CHECK(cross[1].ids().to_vector() == irpe_index(IrpeMethod::cross_columns, {}, 3, 2, 0).ids().to_vector());
  const auto& clipped = rpe_indices(*parse_rpe("rpe-1.9-product-ctx-1-k-clip"), 9, 9, 0, Device::cpu());
  const auto function = IrpeFunction::of_ratio(1.9, true);
  CHECK(clipped[0].ids().to_vector() == irpe_index(IrpeMethod::product, function, 9, 9, 0).ids().to_vector());
}

namespace {

/// Integers, so that sums in any order are equal.
template <class A>
std::vector<A> integers(int64_t n, uint64_t seed) {
  Generator g{seed, 0};
  std::vector<A> values;
  for (double x : random_integers({n}, g, -50, 50).to_vector()) values.push_back(A(x));
  return values;
}

/// Every function of RelposRows against the [N, N] ids.
template <class A>
void check_rows(const RelposIndex& index, bool mirrored) {
  const RelposRows<A> rows(index, mirrored);
  const int64_t n = index.keys, buckets = index.buckets, padded = rows.padded_keys();
  const std::vector<double> ids = index.ids().to_vector();
  const auto id = [&](int64_t i, int64_t j) { return size_t(ids[size_t(mirrored ? j * n + i : i * n + j)]); };
  const auto x = integers<A>(n, 1), table = integers<A>(buckets, 2), columns = integers<A>(buckets * padded, 3);
  std::vector<A> place(static_cast<size_t>(padded)), back(static_cast<size_t>(n)), numbers(static_cast<size_t>(n));
  for (size_t j = 0; j < size_t(n); ++j) numbers[j] = A(j + 1);
  rows.pad_keys(numbers.data(), place.data());
  rows.unpad_keys(place.data(), back.data());
  CHECK(back == numbers);
  std::vector<size_t> at(static_cast<size_t>(n));  // of a key in a padded row
  for (size_t p = 0; p < size_t(padded); ++p)
    if (place[p] > 0) at[size_t(place[p]) - 1] = p;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<A> lookup = x, column = x, sums = table, column_sums = columns;
    lookup.resize(size_t(n + 16), A(5));
    auto expected_lookup = lookup, expected_column = column, expected_sums = sums, expected_column_sums = column_sums;
    std::vector<A> put(size_t(buckets) + 1, A(7)), expected_put = put;  // with a number behind it that stays
    std::fill_n(expected_put.begin(), buckets, A(0));
    for (int64_t j = 0; j < n; ++j) {
      const size_t t = id(i, j), k = size_t(j), cell = t * size_t(padded) + at[k];
      expected_lookup[k] += table[t];
      expected_sums[t] += x[k];
      expected_put[t] += x[k];
      expected_column[k] += columns[cell];
      expected_column_sums[cell] += x[k];
    }
    rows.add_lookup(i, table.data(), lookup.data());
    rows.add_sums(i, x.data(), sums.data());
    std::vector<A> with_room = x;
    with_room.resize(size_t(n + 16), A(NAN));
    rows.put_sums(i, with_room.data(), put.data());
    rows.add_columns(i, columns.data(), column.data());
    rows.add_column_sums(i, x.data(), column_sums.data());
    INFO("query " << i);
    CHECK(lookup == expected_lookup);
    CHECK(sums == expected_sums);
    CHECK(put == expected_put);
    CHECK(column == expected_column);
    CHECK(column_sums == expected_column_sums);
  }
}

}  // namespace

TEST_CASE("the buckets in use are those of the ids, and the view of them agrees", "[unit]") {
  for (const char* text : {"rpe-1.9-product-ctx-1-k", "rpe-20-cross-ctx-1-k", "rpe-20-euc-ctx-1-k",
                           "rpe-33-quant-ctx-1-k", "rpe-6.0-product-ctx-1-k"}) {
    for (const auto& [height, width, skip] : {std::array<int64_t, 3>{6, 6, 1}, {3, 5, 0}, {1, 7, 2}}) {
      INFO(text << " on " << height << " x " << width << ", " << skip << " extra");
      for (const RelposIndex& index : rpe_indices(*parse_rpe(text), height, width, skip, Device::cpu())) {
        const UsedBuckets used = used_buckets(index);
        const auto view = relpos_rows<float>(used.index);
        CHECK(view == relpos_rows<float>(used.index));
        const int64_t n = index.keys;
        const std::vector<double> ids = index.ids().to_vector();
        const std::set<int64_t> expected(ids.begin(), ids.end());
        CHECK(used.ids == std::vector<int64_t>(expected.begin(), expected.end()));
        CHECK(view->rows.buckets() == int64_t(used.ids.size()));
        // A table that holds the ids of the whole index gives them back.
        const std::vector<float> table(used.ids.begin(), used.ids.end());
        for (int64_t i = 0; i < n; ++i) {
          std::vector<float> row(size_t(n + 16)), mirrored = row;
          view->rows.add_lookup(i, table.data(), row.data());
          view->mirrored.add_lookup(i, table.data(), mirrored.data());
          for (int64_t j = 0; j < n; ++j) {
            CHECK(row[size_t(j)] == float(ids[size_t(i * n + j)]));
            CHECK(mirrored[size_t(j)] == float(ids[size_t(j * n + i)]));
          }
        }
      }
    }
  }
}

TEST_CASE("the CPU's view of an index agrees with its ids", "[unit]") {
  for (const char* text : {"rpe-1.9-product-ctx-1-k", "rpe-20-cross-ctx-1-k", "rpe-1.9-euc-ctx-1-k",
                           "rpe-33-quant-ctx-1-k", "rpe-6.0-product-ctx-1-k"}) {
    for (const auto& [height, width, skip] : {std::array<int64_t, 3>{14, 14, 1},
                                              {8, 8, 1},
                                              {7, 7, 0},
                                              {3, 16, 7},
                                              {3, 20, 1},
                                              {2, 7, 8},
                                              {1, 8, 0},
                                              {3, 5, 0},
                                              {20, 1, 2},
                                              {2, 37, 3},
                                              {2, 257, 1}}) {
      INFO(text << " on " << height << " x " << width << ", " << skip << " extra");
      for (const RelposIndex& index : rpe_indices(*parse_rpe(text), height, width, skip, Device::cpu())) {
        for (bool mirrored : {false, true}) {
          check_rows<float>(index, mirrored);
          check_rows<double>(index, mirrored);
        }
      }
    }
  }
}

TEST_CASE("the CPU's views of indices are kept up to a number", "[unit]") {
  const auto rows = [](int64_t width) {
    return relpos_rows<float>(irpe_index(IrpeMethod::product, IrpeFunction::of_ratio(1.0), 1, width, 0));
  };
  const std::weak_ptr<const RelposRowsPair<float>> first = rows(1), second = rows(2);
  for (int64_t width = 3; width <= int64_t(kMostKept); ++width) rows(width);
  CHECK(first.lock() == rows(1));
  rows(int64_t(kMostKept) + 1);
  CHECK(first.lock() == rows(1));
  CHECK(second.expired());
}
