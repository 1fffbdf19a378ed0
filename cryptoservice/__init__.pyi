"""The public names of the package, and the modules that they come from."""

from cryptoservice._version import __version__ as __version__
from cryptoservice.audit.findings import VerifyResult as VerifyResult
from cryptoservice.audit.status import StatusResult as StatusResult
from cryptoservice.audit.status import universe_status as universe_status
from cryptoservice.audit.verify import verify_universe as verify_universe
from cryptoservice.config import Credentials as Credentials
from cryptoservice.config import Endpoints as Endpoints
from cryptoservice.config import NetworkConfig as NetworkConfig
from cryptoservice.config import RateConfig as RateConfig
from cryptoservice.config import RetryConfig as RetryConfig
from cryptoservice.config import WindowBounds as WindowBounds
from cryptoservice.config import WorkerConfig as WorkerConfig
from cryptoservice.define.command import define_universe as define_universe
from cryptoservice.define.result import DefineResult as DefineResult
from cryptoservice.download.command import download_universe_data as download_universe_data
from cryptoservice.download.result import DownloadResult as DownloadResult
from cryptoservice.errors import CryptoserviceError as CryptoserviceError
from cryptoservice.errors import UsageError as UsageError
from cryptoservice.export.command import ExportResult as ExportResult
from cryptoservice.export.command import export_universe_data as export_universe_data
from cryptoservice.models import Dataset as Dataset
from cryptoservice.models import Freq as Freq
from cryptoservice.service import MarketDataService as MarketDataService
from cryptoservice.universe.file import UniverseFile as UniverseFile
from cryptoservice.universe.model import DailySnapshot as DailySnapshot
from cryptoservice.universe.model import Universe as Universe
