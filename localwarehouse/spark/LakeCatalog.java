package localwarehouse;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URLDecoder;
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;
import org.apache.spark.sql.catalyst.analysis.NamespaceAlreadyExistsException;
import org.apache.spark.sql.catalyst.analysis.NoSuchNamespaceException;
import org.apache.spark.sql.catalyst.analysis.NoSuchTableException;
import org.apache.spark.sql.catalyst.analysis.NonEmptyNamespaceException;
import org.apache.spark.sql.catalyst.analysis.TableAlreadyExistsException;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.connector.catalog.CatalogNotFoundException;
import org.apache.spark.sql.connector.catalog.Identifier;
import org.apache.spark.sql.connector.catalog.NamespaceChange;
import org.apache.spark.sql.connector.catalog.SupportsNamespaces;
import org.apache.spark.sql.connector.catalog.Table;
import org.apache.spark.sql.connector.catalog.TableCatalog;
import org.apache.spark.sql.connector.catalog.TableCatalogCapability;
import org.apache.spark.sql.connector.catalog.TableChange;
import org.apache.spark.sql.connector.catalog.TableInfo;
import org.apache.spark.sql.util.CaseInsensitiveStringMap;

/**
 * A catalog of Delta tables in a folder, for names of three parts: Delta's own catalog serves `spark_catalog` alone.
 *
 * <p>A schema is a folder in `root`, a table a small file in it that holds where its Delta table is: a folder in
 * `tables`, new for every created table. Everything else is Delta's, which is asked by that path. Nothing is kept in
 * memory, so all sessions see one state and it outlives the process.
 */
public class LakeCatalog implements TableCatalog, SupportsNamespaces {
  private String name;
  private Path root;
  private Path tables;

  @Override
  public void initialize(String given, CaseInsensitiveStringMap options) {
    name = given;
    root = Path.of(options.get("root"));
    tables = Path.of(options.get("tables"));
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public String[] defaultNamespace() {
    return new String[] {"default"};
  }

  @Override
  public Set<TableCatalogCapability> capabilities() {
    return delta().capabilities();
  }

  @Override
  public Identifier[] listTables(String[] namespace) throws NoSuchNamespaceException {
    return entries(existing(namespace)).stream()
        .map(table -> Identifier.of(namespace, table))
        .toArray(Identifier[]::new);
  }

  @Override
  public Table loadTable(Identifier ident) throws NoSuchTableException {
    return delta().loadTable(located(ident));
  }

  @Override
  public Table createTable(Identifier ident, TableInfo info)
      throws TableAlreadyExistsException, NoSuchNamespaceException {
    existing(ident.namespace());
    Path pointer = pointer(ident);
    if (Files.exists(pointer)) {
      throw new TableAlreadyExistsException(ident);
    }
    Path location = tables.resolve(UUID.randomUUID().toString());
    Table made = delta().createTable(byPath(location), info);
    try {
      Path whole = Files.writeString(Path.of(location + ".pointer"), location.toString(), StandardOpenOption.CREATE_NEW);
      // A link fails where the name was taken meanwhile, and nobody sees half a pointer.
      Files.createLink(pointer, whole);
      Files.delete(whole);
    } catch (FileAlreadyExistsException exc) {
      throw new TableAlreadyExistsException(ident);
    } catch (IOException exc) {
      throw new UncheckedIOException(exc);
    }
    return made;
  }

  @Override
  public Table alterTable(Identifier ident, TableChange... changes) throws NoSuchTableException {
    return delta().alterTable(located(ident), changes);
  }

  @Override
  public boolean dropTable(Identifier ident) {
    try {
      Path location = Path.of(located(ident).name());
      Files.delete(pointer(ident));
      remove(location);
      return true;
    } catch (NoSuchTableException | NoSuchFileException exc) {
      return false;
    } catch (IOException exc) {
      throw new UncheckedIOException(exc);
    }
  }

  @Override
  public void renameTable(Identifier from, Identifier to) {
    throw new UnsupportedOperationException("a table cannot be renamed here");
  }

  @Override
  public String[][] listNamespaces() {
    return entries(root).stream().map(schema -> new String[] {schema}).toArray(String[][]::new);
  }

  @Override
  public String[][] listNamespaces(String[] namespace) throws NoSuchNamespaceException {
    if (namespace.length == 0) {
      return listNamespaces();
    }
    existing(namespace);
    return new String[0][];
  }

  @Override
  public Map<String, String> loadNamespaceMetadata(String[] namespace) throws NoSuchNamespaceException {
    existing(namespace);
    return Map.of();
  }

  @Override
  public void createNamespace(String[] namespace, Map<String, String> metadata) throws NamespaceAlreadyExistsException {
    try {
      Files.createDirectory(folder(namespace));
    } catch (FileAlreadyExistsException exc) {
      throw new NamespaceAlreadyExistsException(namespace);
    } catch (IOException exc) {
      throw new UncheckedIOException(exc);
    }
  }

  @Override
  public void alterNamespace(String[] namespace, NamespaceChange... changes) {
    throw new UnsupportedOperationException("a schema cannot be altered here");
  }

  @Override
  public boolean dropNamespace(String[] namespace, boolean cascade)
      throws NoSuchNamespaceException, NonEmptyNamespaceException {
    Path folder = existing(namespace);
    List<String> found = entries(folder);
    if (!found.isEmpty() && !cascade) {
      throw new NonEmptyNamespaceException(namespace);
    }
    for (String table : found) {
      dropTable(Identifier.of(namespace, table));
    }
    try {
      Files.delete(folder);
    } catch (IOException exc) {
      throw new UncheckedIOException(exc);
    }
    return true;
  }

  private static TableCatalog delta() {
    return (TableCatalog) SparkSession.active().sessionState().catalogManager().v2SessionCatalog();
  }

  private static Identifier byPath(Path location) {
    return Identifier.of(new String[] {"delta"}, location.toString());
  }

  private Identifier located(Identifier ident) throws NoSuchTableException {
    try {
      return byPath(Path.of(Files.readString(pointer(ident))));
    } catch (IOException exc) {
      throw new NoSuchTableException(ident);
    }
  }

  private Path folder(String[] namespace) {
    // Spark takes the name of a catalog it does not know for a schema of the session's own catalog.
    String missing = namespace.length > 1 ? namespace[0] : Files.isDirectory(root) ? null : name;
    if (missing != null) {
      throw LakeCatalog.<RuntimeException>unchecked(
          new CatalogNotFoundException(
              "CATALOG_NOT_FOUND",
              new scala.collection.immutable.Map.Map2<>("catalogName", missing, "config", "spark.sql.catalog.…")));
    }
    return root.resolve(file(String.join(".", namespace)));
  }

  private Path pointer(Identifier ident) {
    return folder(ident.namespace()).resolve(file(ident.name()));
  }

  private Path existing(String[] namespace) throws NoSuchNamespaceException {
    Path found = folder(namespace);
    if (!Files.isDirectory(found)) {
      throw new NoSuchNamespaceException(namespace);
    }
    return found;
  }

  @SuppressWarnings("unchecked")
  private static <E extends Throwable> E unchecked(Throwable thrown) throws E {
    throw (E) thrown;
  }

  private static List<String> entries(Path folder) {
    try (Stream<Path> found = Files.list(folder)) {
      return found.map(path -> URLDecoder.decode(path.getFileName().toString(), StandardCharsets.UTF_8)).toList();
    } catch (IOException exc) {
      throw new UncheckedIOException(exc);
    }
  }

  private static void remove(Path location) throws IOException {
    try (Stream<Path> found = Files.walk(location)) {
      for (Path path : found.sorted(Comparator.reverseOrder()).toList()) {
        Files.deleteIfExists(path);
      }
    }
  }

  /** Unity Catalog compares names of objects without regard to case. */
  private static String file(String object) {
    return URLEncoder.encode(object.toLowerCase(Locale.ROOT), StandardCharsets.UTF_8);
  }
}
