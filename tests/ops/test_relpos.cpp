#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/checkpoint/sha256.h"
#include "ops/relpos/relpos.h"
#include "tests/support/catch.h"

using namespace vitrine;
using namespace vitrine::ops;
using nlohmann::json;

namespace {

std::vector<int32_t> values(const Tensor& ids) {
  const int32_t* p = ids.data<int32_t>();
  return {p, p + ids.numel()};
}
RelposIndex index_of(const json& e) {
  return irpe_index(parse_irpe_method(e["method"]), IrpeFunction::of_ratio(e["ratio"]), e["height"], e["width"],
                    e["skip"]);
}

}  // namespace

TEST_CASE("sha256 of the standard's examples", "[unit]") {
  const auto of = [](std::string_view s) { return data::sha256(std::as_bytes(std::span(s.data(), s.size()))); };
  CHECK(of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("iRPE ids equal those computed from the equations", "[unit]") {
  std::ifstream file(std::string(VITRINE_SOURCE_DIR) + "/tests/fixtures/relpos/irpe_ids.json");
  for (const json& e : json::parse(file)) {
    INFO(e["method"] << " ratio " << e["ratio"] << " grid " << e["height"] << "x" << e["width"] << " skip "
                     << e["skip"]);
    std::vector<int32_t> expected;
    for (const json& row : e["ids"])
      for (int32_t id : row) expected.push_back(id);
    CHECK(values(index_of(e).ids()) == expected);
  }
}

TEST_CASE("iRPE ids equal the reference program's in every recorded case", "[unit]") {
  const char* folder = std::getenv("VITRINE_GOLDEN");
  if (!folder) {  // the recordings are not part of the repository; the test above stands alone
    WARN("SKIPPED: VITRINE_GOLDEN names no folder of recordings");
    return;
  }
  std::ifstream file(std::string(folder) + "/irpe_buckets.json");
  REQUIRE(file);
  const json golden = json::parse(file);
  size_t checked = 0;
  for (const json& e : golden["entries"]) {
    INFO(e["method"] << " ratio " << e["ratio"] << " grid " << e["height"] << "x" << e["width"] << " skip "
                     << e["skip"]);
    const RelposIndex index = index_of(e);
    CHECK(index.buckets == e["num_buckets"].get<int64_t>());
    const auto ids = values(index.ids());
    CHECK(data::sha256(std::as_bytes(std::span(ids))) == e["sha256_i32le_rowmajor"].get<std::string>());
    ++checked;
  }
  CHECK(checked == 325);
  size_t tabulated = 0;
  for (const char* table : {"g_table", "g_table_quant"})
    for (const auto& [ratio, expected] : golden[table].items())
      for (size_t x = 0; x < expected.size(); ++x, ++tabulated) {
        INFO(table << " ratio " << ratio << " at " << x);
        CHECK(IrpeFunction::of_ratio(std::stod(ratio))(double(x)) == expected[x].get<int64_t>());
        CHECK(IrpeFunction::of_ratio(std::stod(ratio))(-double(x)) == -expected[x].get<int64_t>());
      }
  CHECK(tabulated == 12 * 65 + 6 * 401);
}

TEST_CASE("halves round to even and f32 decides", "[unit]") {
  CHECK(IrpeFunction::of_ratio(1.5)(6) == 2);      // exactly 2.5
  CHECK(IrpeFunction::of_ratio(7.5)(30) == 12);    // exactly 12.5
  CHECK(IrpeFunction::of_ratio(4.5)(18) == 8);     // exactly 7.5
  CHECK(IrpeFunction::of_ratio(39.5)(202) == 70);  // 71 in double precision
  CHECK(IrpeFunction::of_ratio(1.9, true)(100) == 3);
  CHECK(IrpeFunction::of_ratio(1.9, true)(-2) == -2);
}

TEST_CASE("directed methods mirror, undirected ones are symmetric", "[unit]") {
  const auto at = [](IrpeMethod method, int64_t i, int64_t j) {
    return values(irpe_index(method, IrpeFunction::of_ratio(1.9), 5, 6, 0).ids())[size_t(i * 30 + j)];
  };
  for (int64_t i : {0, 7, 29})
    for (int64_t j : {3, 11, 28}) {
      CHECK(at(IrpeMethod::product, j, i) == 48 - at(IrpeMethod::product, i, j));
      CHECK(at(IrpeMethod::cross_rows, j, i) == 6 - at(IrpeMethod::cross_rows, i, j));
      CHECK(at(IrpeMethod::euclidean, j, i) == at(IrpeMethod::euclidean, i, j));
      CHECK(at(IrpeMethod::quantization, j, i) == at(IrpeMethod::quantization, i, j));
    }
}

TEST_CASE("an index is kept by everything that defines it", "[unit][emulated]") {
  const auto g = IrpeFunction::of_ratio(1.9);
  const RelposIndex& a = irpe_index(IrpeMethod::product, g, 4, 4, 0);
  CHECK(&a == &irpe_index(IrpeMethod::product, g, 4, 4, 0));
  CHECK(&a != &irpe_index(IrpeMethod::product, g, 4, 4, 1));
  CHECK(irpe_index(IrpeMethod::product, g, 4, 4, 1).buckets == 50);
  CHECK(a.to(Device::emulated()).device() == Device::emulated());
  CHECK(values(a.to(Device::emulated()).ids()) == values(a.ids()));
}

TEST_CASE("listed ids are copied when they are checked", "[unit][emulated]") {
  for (const Device device : {Device::cpu(), Device::emulated()}) {
    Tensor ids = full({2, 3}, 4, {.dtype = Dtype::i32, .device = device});
    const RelposIndex index = index_from_ids(ids, 5);
    ids.fill_(5);
    CHECK(values(index.ids()) == std::vector<int32_t>(6, 4));
  }
}

TEST_CASE("Swin's window ids", "[unit]") {
  const RelposIndex& index = swin_index(2, 2);
  CHECK(index.buckets == 9);
  CHECK(values(index.ids()) == std::vector<int32_t>{4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4});
}
